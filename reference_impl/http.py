"""The stack behind HTTP: request in, one invocation of the deployment, answer with its evidence.

No decision about caching or attribution is made here. Everything that changes state or tells of
the deployment needs the bearer token, except ``POST /track``, which is public by nature and is
validated, bounded and idempotent.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from reference_impl.evidence_headers import encode
from reference_impl.messages import Context, Evidence, Response
from reference_impl.profiler import LatencyProfiler
from reference_impl.times import from_wall_us
from reference_impl.worker import Worker, problem

MAX_BODY_BYTES = 64 * 1024
NUMBER_HEADER = "x-edgekpi-number"
NODE_HEADER = "x-edgekpi-node"

Call = Callable[[Worker, Context], Coroutine[Any, Any, Response]]


class Origin(NamedTuple):
    """Which request of a plan this is and which node it goes to; only an emulation asks."""

    number: int | None = None
    node: str | None = None


class Deployment(Protocol):
    """Where invocations run: embedded stores, or a modelled world."""

    profiler: LatencyProfiler

    async def invoke(self, call: Call, origin: Origin) -> tuple[Response, Evidence]:
        """Run ``call`` in one isolate."""

    def statistics(self) -> Mapping[str, Any]:
        """What the profiler cannot know: memory, queue, names of the isolates."""

    def wall_us(self) -> int: ...


def create_app(
    deployment: Deployment, token: str | None, extra: list[Route] | None = None
) -> Starlette:
    """The ASGI application. Without a ``token`` the protected routes answer 401 to everyone."""
    api = _Api(deployment, token)
    get, post = ["GET"], ["POST"]
    performance = "/api/performance/"
    app = Starlette(
        routes=[
            Route("/track", api.track, methods=post),
            Route("/api/attribution/{conversion_id:path}", api.attribution, methods=get),
            Route(performance + "stats", api.protected(api.stats), methods=get),
            Route(performance + "cache-stats", api.protected(api.cache_stats), methods=get),
            Route(performance + "query-stats", api.protected(api.query_stats), methods=get),
            Route(performance + "latency-summary", api.protected(api.latency), methods=get),
            Route(performance + "cache-invalidate", api.protected(api.invalidate), methods=post),
            Route("/healthz", _healthy, methods=get),
            *(
                Route(route.path, api.protected(route.endpoint), methods=list(route.methods or ()))
                for route in extra or ()
            ),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(self, deployment: Deployment, token: str | None) -> None:
        self._deployment = deployment
        self._token = token.encode() if token else None

    def protected(self, endpoint: Any) -> Any:
        """``endpoint`` for callers with the token only; compared in constant time."""

        async def checked(request: Request) -> HttpResponse:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            expected = self._token
            known = expected is not None and hmac.compare_digest(given.encode("latin-1"), expected)
            if not known or scheme.lower() != "bearer":
                detail = (
                    "a bearer token is needed" if expected else "this server was given no token"
                )
                return _answer(problem(401, detail, "", {"www-authenticate": "Bearer"}))
            result: HttpResponse = await endpoint(request)
            return result

        return checked

    async def track(self, request: Request) -> HttpResponse:
        body = await read_json(request)
        return await self._invoke(request, lambda worker, ctx: worker.track(ctx, body))

    async def attribution(self, request: Request) -> HttpResponse:
        conversion_id = request.path_params["conversion_id"]
        model = request.query_params.get("model", "last_click")
        return await self._invoke(
            request, lambda worker, ctx: worker.attribution(ctx, conversion_id, model)
        )

    async def invalidate(self, request: Request) -> HttpResponse:
        body = await read_json(request)
        return await self._invoke(request, lambda worker, ctx: worker.invalidate(ctx, body))

    async def stats(self, _request: Request) -> HttpResponse:
        profiler = self._deployment.profiler
        return self._data(
            {
                "performance": profiler.latency_summary(),
                **profiler.cumulative(),
                **self._deployment.statistics(),
            }
        )

    async def cache_stats(self, _request: Request) -> HttpResponse:
        return self._data({"cache": self._deployment.profiler.cache_stats()})

    async def query_stats(self, _request: Request) -> HttpResponse:
        return self._data({"queries": self._deployment.profiler.query_stats()})

    async def latency(self, _request: Request) -> HttpResponse:
        return self._data({"latency": self._deployment.profiler.latency_summary()})

    async def _invoke(self, request: Request, call: Call) -> HttpResponse:
        number = request.headers.get(NUMBER_HEADER, "")
        origin = Origin(
            int(number) if number.isascii() and number.isdigit() and len(number) < 16 else None,
            request.headers.get(NODE_HEADER),
        )
        response, evidence = await self._deployment.invoke(call, origin)
        return _answer(response, evidence)

    def _data(self, data: Mapping[str, Any]) -> HttpResponse:
        stamped = {**data, "timestamp": from_wall_us(self._deployment.wall_us())}
        return _answer(Response(200, json.dumps({"success": True, "data": stamped})))


async def read_json(request: Request) -> Any:
    """The decoded JSON body.

    Raises:
        HTTPException: 413 for a body over 64 KiB, 400 for one that is no JSON.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"a body may have {MAX_BODY_BYTES} bytes")
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _answer(response: Response, evidence: Evidence | None = None) -> HttpResponse:
    headers = {
        "content-type": "application/json",
        "cache-control": "no-store",
        **dict(response.headers),
        **dict(encode(evidence) if evidence else ()),
    }
    return HttpResponse(response.body, response.status, headers)


async def _healthy(_request: Request) -> HttpResponse:
    return _answer(Response(200, '{"status":"ok"}'))


async def _http_error(_request: Request, error: Exception) -> HttpResponse:
    assert isinstance(error, HTTPException)
    return _answer(problem(error.status_code, error.detail, "", error.headers))
