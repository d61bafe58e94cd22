"""The applications that ``edgekpi serve`` runs: the stack over embedded stores, or in the world."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette

from reference_impl.adapters.embedded import EmbeddedDeployment
from reference_impl.http import create_app
from reference_impl.rate_limit import RateLimit
from scenarios.journeys import load_population
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from sim.emulate import EmulatedDeployment
from sim.prepare import load_engine, prepare

MakeApp = Callable[[], Starlette]
"""Makes the application; to be called inside the event loop that serves it."""


def emulated(scenario: Scenario, token: str | None) -> MakeApp:
    """The world of ``scenario`` in real time."""
    prepared = prepare(scenario)

    def make_app() -> Starlette:
        deployment = EmulatedDeployment(scenario, prepared)
        return create_app(deployment, token, deployment.routes())

    return make_app


def embedded(scenario: Scenario, token: str | None) -> MakeApp:
    """The journeys of ``scenario`` in SQLite, KV and queue in memory, no modelled delay."""
    engine = load_engine(scenario, load_population(scenario.data))

    def make_app() -> Starlette:
        deployment = EmbeddedDeployment(
            engine,
            stack_config(scenario),
            batch_size=scenario.queue.batch_size,
            batch_timeout_us=round(scenario.queue.batch_timeout_s * 1_000_000),
        )
        rate_per_s = scenario.ingest.rate_per_client_per_s
        limit = RateLimit(deployment.now_us, rate_per_s) if rate_per_s else None
        return create_app(deployment, token, tracking_limit=limit)

    return make_app
