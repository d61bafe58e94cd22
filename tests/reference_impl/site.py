"""A whole embedded deployment behind the HTTP layer, and a client inside the same event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple, TypeVar

import httpx

from reference_impl.adapters.embedded import EmbeddedDeployment, embedded_deployment
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.config import StackConfig
from reference_impl.http.app import Extra, create_app
from reference_impl.profiling.profiler import LatencyProfiler

T = TypeVar("T")
TOKEN = "s3cret"
AUTH = {"authorization": f"Bearer {TOKEN}"}
PERFORMANCE = "/api/performance/"
READINGS = ["stats", "cache-stats", "query-stats", "latency-summary"]
INVALIDATE = PERFORMANCE + "cache-invalidate"
EVENT: dict[str, Any] = {
    "user_id": "u1",
    "event_name": "touch",
    "utm_source": "google",
    "event_timestamp": "2026-01-31T12:00:00.000Z",
    "conversion_id": "c1",
}


@cache
def empty_database() -> bytes:
    """The schema and no rows."""
    engine = SqliteEngine()
    engine.migrate()
    return engine.snapshot()


class Site(NamedTuple):
    """A deployment with a client of its server, and the database behind it."""

    client: httpx.AsyncClient
    deployment: EmbeddedDeployment
    engine: SqliteEngine

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read or change the database behind the stack's back."""
        (execution,) = self.engine.execute([Command(sql, ())])
        return execution.rows


DEFAULTS = StackConfig()


@asynccontextmanager
async def open_site(
    wrap_kv: Callable[[Any], Any] = lambda kv: kv,
    *,
    token: str | None = TOKEN,
    extra: Extra | None = None,
    quiet: bool = False,
    config: StackConfig = DEFAULTS,
) -> AsyncIterator[Site]:
    """A site of its own in the running event loop, whose queue sends at once.

    With ``quiet`` the profiler's lines are not printed.
    """
    engine = SqliteEngine.from_snapshot(empty_database())
    deployment = await embedded_deployment(engine, config, batch_size=1, batch_timeout_us=5_000_000)
    wrap_kv(deployment.stores.kv)
    if quiet:
        deployment.profiler = LatencyProfiler(deployment.now_us)
    transport = httpx.ASGITransport(create_app(deployment, token, extra))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        yield Site(client, deployment, engine)


def visit_site(work: Callable[[Site], Awaitable[T]], *arguments: Any, **options: Any) -> T:
    """The result of ``work`` on a site as :func:`open_site` makes it."""

    async def main() -> T:
        async with open_site(*arguments, **options) as site:
            return await work(site)

    return asyncio.run(main())


def visit(
    work: Callable[[httpx.AsyncClient], Awaitable[T]],
    token: str | None = TOKEN,
    extra: Extra | None = None,
) -> T:
    """The same for ``work`` that needs the client alone."""
    return visit_site(lambda site: work(site.client), token=token, extra=extra)


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether an answer is an error as RFC 9457 has it."""
    return (
        answer.status_code == answer.json()["status"] == status
        and bool(answer.json()["detail"])
        and answer.headers["content-type"] == "application/problem+json"
        and answer.headers["cache-control"] == "no-store"
    )
