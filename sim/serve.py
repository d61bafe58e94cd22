"""What ``edgekpi serve`` runs: the stack over stores of its own, or in the world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from reference_impl.adapters.asyncio_runtime import AsyncioRuntime
from reference_impl.adapters.embedded import EmbeddedDeployment
from reference_impl.adapters.server import MakeApp
from reference_impl.adapters.stores import open_stores
from reference_impl.http.app import create_app
from reference_impl.http.paths import Paths
from reference_impl.http.rate_limit import RateLimit
from scenarios.journeys import load_population
from scenarios.schema import Scenario
from scenarios.stack import memory_sizes, stack_config
from sim.emulate import EmulatedDeployment
from sim.prepare import prepare

RETRY_DELAY_US = 1_000_000
"""Before a message is delivered again; doubled each time (assumption)."""


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """Where a deployment keeps everything; without a ``queue`` of its own it lies beside D1."""

    kv: str
    d1: str
    queue: str | None


def emulated(scenario: Scenario, token: str | None) -> MakeApp:
    """The world of ``scenario`` in real time."""
    prepared = prepare(scenario)

    @asynccontextmanager
    async def make_app() -> AsyncIterator[Paths]:
        deployment = EmulatedDeployment(scenario, prepared)
        yield create_app(deployment, token, deployment.resources())

    return make_app


def embedded(scenario: Scenario, token: str | None, urls: StoreUrls) -> MakeApp:
    """The stack over the stores at ``urls``, no modelled delay. A database without any event
    starts with the journeys of ``scenario``."""
    population = load_population(scenario.data)

    @asynccontextmanager
    async def make_app() -> AsyncIterator[Paths]:
        runtime = AsyncioRuntime()
        stores = await open_stores(urls.kv, urls.d1, urls.queue, runtime=runtime)
        try:
            stores.d1.set_up(frozenset(scenario.d1.drop_indexes), population.rows())
            deployment = EmbeddedDeployment(
                runtime, stores, stack_config(scenario), memory_sizes(scenario.edge)
            )
            await deployment.start(
                batch_size=scenario.queue.batch_size,
                batch_timeout_us=round(scenario.queue.batch_timeout_s * 1_000_000),
                max_retries=scenario.queue.max_retries,
                max_concurrency=scenario.queue.max_concurrency,
                retry_delay_us=RETRY_DELAY_US,
            )
            rate_per_s = scenario.ingest.rate_per_client_per_s
            limit = RateLimit(deployment.now_us, rate_per_s) if rate_per_s else None
            yield create_app(deployment, token, tracking_limit=limit)
        finally:
            await runtime.shutdown()
            await stores.close()

    return make_app
