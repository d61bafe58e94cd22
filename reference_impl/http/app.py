"""The stack behind HTTP: request in, one invocation of the deployment, answer with its evidence.

No decision about caching or attribution is made here. Everything that changes state or tells of
the deployment needs the bearer token, except ``POST /track``, which is public by nature and is
validated, bounded and idempotent. A slash at the end makes another path, which is not found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request

from reference_impl.http.dead_letters import DeadLetterOffice
from reference_impl.http.openapi import DESCRIPTION
from reference_impl.http.paths import Paths
from reference_impl.http.rate_limit import RateLimit
from reference_impl.http.resource import (
    JSON_TYPES,
    Answer,
    Endpoint,
    Guard,
    Resource,
    answer,
    count_in,
    header,
    raw,
    read_json,
)
from reference_impl.http.statistics import Statistics
from reference_impl.isolate.channel_metrics import MAX_CHANNELS
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, Evidence, Response
from reference_impl.ports import DeadLetters
from reference_impl.profiling.measured import Measured

NUMBER_HEADER = b"x-edgekpi-number"
NODE_HEADER = b"x-edgekpi-node"
PERFORMANCE = "/api/performance/"

BEACON_TYPES = (*JSON_TYPES, "text/plain")
"""``navigator.sendBeacon`` sends text as ``text/plain``, and so needs no preflight."""

PREFLIGHT = {
    "allow": "OPTIONS, POST",
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "content-type",
    "access-control-max-age": "86400",
}
ANY_ORIGIN = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "retry-after",
}

Call = Callable[[Worker, Context], Coroutine[Any, Any, Response]]


Extra = Mapping[str, Mapping[str, Endpoint]]
"""Endpoints of a composition's own, by path and method."""


class Origin(NamedTuple):
    """Which request of a plan this is and which node it goes to; only an emulation asks."""

    number: int | None = None
    node: str | None = None


AskOrigin = Callable[[], Origin]


class Deployment(Measured, Protocol):
    """Where invocations run: embedded stores, or a modelled world."""

    @property
    def dead_letters(self) -> DeadLetters:
        """The dead of the queue there is at the moment."""

    async def invoke(self, call: Call, origin: AskOrigin) -> tuple[Response, Evidence]:
        """Run ``call`` in one isolate."""


def create_app(
    deployment: Deployment,
    token: str | None,
    extra: Extra | None = None,
    tracking_limit: RateLimit | None = None,
) -> Paths:
    """The ASGI application. Without a ``token`` the protected routes answer 401 to everyone.

    ``extra`` endpoints, by path and method, are protected. Without a ``tracking_limit`` anybody
    may track at any rate.
    """
    api = _Api(deployment, tracking_limit)
    guard = Guard(token)
    statistics = Statistics(deployment)
    return Paths(
        {
            "/api/attribution/batch": Resource(
                {"GET": api.attribution, "POST": guard.protect(api.attribution_batch)}
            ),
            "/api/attribution/{conversion_id}": Resource({"GET": api.attribution}),
            "/track": Resource({"POST": api.track, "OPTIONS": _preflight}, ANY_ORIGIN),
            "/api/channels": Resource({"GET": api.channels}),
            **{
                PERFORMANCE + name: guard.resource({"GET": endpoint})
                for name, endpoint in statistics.endpoints().items()
            },
            "/api/queue/dead-letters": guard.resource({"GET": api.dead_letters}),
            "/api/queue/dead-letters/replay": guard.resource({"POST": api.replay}),
            PERFORMANCE + "cache-invalidate": guard.resource({"POST": api.invalidate}),
            "/healthz": Resource({"GET": _healthy}),
            "/readyz": Resource({"GET": api.ready}),
            "/metrics": guard.resource({"GET": statistics.metrics}),
            "/openapi.json": Resource({"GET": _description}),
            **{path: guard.resource(endpoints) for path, endpoints in (extra or {}).items()},
        }
    )


class _Api:
    """The endpoints that run in an isolate."""

    def __init__(self, deployment: Deployment, tracking_limit: RateLimit | None) -> None:
        self._deployment = deployment
        self._limit = tracking_limit

    async def track(self, request: Request) -> Answer:
        self._count(request, 1)
        body = await read_json(request, BEACON_TYPES)
        if isinstance(body, list) and len(body) > 1:
            self._count(request, len(body) - 1)
        return await self._invoke(request, lambda worker, ctx: worker.track(ctx, body))

    async def attribution(self, request: Request) -> Answer:
        conversion_id = request.path_params.get("conversion_id", "batch")
        model = _query(request.scope["query_string"]).get("model", "last_click")
        return await self._invoke(
            request, lambda worker, ctx: worker.attribution(ctx, conversion_id, model)
        )

    async def attribution_batch(self, request: Request) -> Answer:
        body = await read_json(request)
        return await self._invoke(request, lambda worker, ctx: worker.attribution_batch(ctx, body))

    async def channels(self, request: Request) -> Answer:
        model = request.query_params.get("model", "last_click")
        limit = count_in(request, "limit", 50, MAX_CHANNELS)
        return await self._invoke(request, lambda worker, ctx: worker.channels(ctx, model, limit))

    async def invalidate(self, request: Request) -> Answer:
        body = await read_json(request)
        return await self._invoke(request, lambda worker, ctx: worker.invalidate(ctx, body))

    async def dead_letters(self, request: Request) -> Answer:
        return await DeadLetterOffice(self._deployment.dead_letters).listed(request)

    async def replay(self, request: Request) -> Answer:
        return await DeadLetterOffice(self._deployment.dead_letters).replayed(request)

    async def ready(self, request: Request) -> Answer:
        return await self._invoke(request, lambda worker, ctx: worker.ready(ctx))

    async def _invoke(self, request: Request, call: Call) -> Answer:
        response, evidence = await self._deployment.invoke(call, partial(_origin, request))
        return answer(response, evidence)

    def _count(self, request: Request, events: int) -> None:
        """Count ``events`` for the client, before anything is read or asked for them.

        Raises:
            HTTPException: 429 with the seconds to wait.
        """
        if self._limit is None or request.client is None:
            return
        wait_s = self._limit.wait_s(request.client.host, events)
        if wait_s > 0:
            detail = "more events than one client may send"
            raise HTTPException(429, detail, {"retry-after": str(math.ceil(wait_s))})


def _origin(request: Request) -> Origin:
    number = header(request, NUMBER_HEADER) or ""
    known = number.isascii() and number.isdigit() and len(number) < 16
    return Origin(int(number) if known else None, header(request, NODE_HEADER))


@lru_cache(maxsize=100)
def _query(text: bytes) -> QueryParams:
    """What a query says; most requests ask for one of a few models."""
    return QueryParams(text)


async def _preflight(_request: Request) -> Answer:
    return Answer(204, b"", raw(PREFLIGHT.items()))


async def _healthy(_request: Request) -> Answer:
    return answer(Response(200, '{"status":"ok"}'))


async def _description(_request: Request) -> Answer:
    return answer(Response(200, DESCRIPTION))
