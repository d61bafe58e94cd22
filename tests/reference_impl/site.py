"""A whole embedded deployment behind the HTTP layer, and a client inside the same event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

import httpx
from starlette.routing import Route

from reference_impl.adapters.embedded import EmbeddedDeployment
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.config import StackConfig
from reference_impl.http import create_app

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


def visit(
    work: Callable[[httpx.AsyncClient], Awaitable[T]],
    token: str | None = TOKEN,
    extra: list[Route] | None = None,
) -> T:
    """The result of ``work`` with a client of a server of its own; its queue sends at once."""

    async def main() -> T:
        engine = SqliteEngine.from_snapshot(empty_database())
        deployment = EmbeddedDeployment(
            engine, StackConfig(), batch_size=1, batch_timeout_us=5_000_000
        )
        transport = httpx.ASGITransport(create_app(deployment, token, extra))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            return await work(client)

    return asyncio.run(main())


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether an answer is an error as RFC 9457 has it."""
    return (
        answer.status_code == answer.json()["status"] == status
        and bool(answer.json()["detail"])
        and answer.headers["content-type"] == "application/problem+json"
        and answer.headers["cache-control"] == "no-store"
    )
