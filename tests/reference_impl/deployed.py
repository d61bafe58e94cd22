"""A whole embedded deployment on asyncio in virtual time, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from reference_impl.adapters.embedded import EmbeddedDeployment, embedded_deployment
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.config import StackConfig
from reference_impl.http.app import Origin
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, Evidence, Response
from tests.contracts.virtual_loop import VirtualLoop

T = TypeVar("T")
BATCH_TIMEOUT_US = 2_000_000


def deployed(work: Callable[[EmbeddedDeployment, SqliteEngine], Awaitable[T]]) -> T:
    """Run ``work`` with a deployment of its own, in virtual time."""

    async def main() -> T:
        engine = SqliteEngine()
        engine.migrate()
        deployment = await embedded_deployment(
            engine, StackConfig(), batch_size=10, batch_timeout_us=BATCH_TIMEOUT_US
        )
        return await work(deployment, engine)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


async def track(deployment: EmbeddedDeployment, **fields: Any) -> Response:
    body = {"user_id": "u", "event_name": "touch", "event_timestamp": 0, **fields}

    async def call(worker: Worker, ctx: Context) -> Response:
        return await worker.track(ctx, body)

    return (await deployment.invoke(call, Origin))[0]


async def attribution(
    deployment: EmbeddedDeployment, conversion_id: str
) -> tuple[Response, Evidence]:
    async def call(worker: Worker, ctx: Context) -> Response:
        return await worker.attribution(ctx, conversion_id, "linear")

    return await deployment.invoke(call, Origin)
