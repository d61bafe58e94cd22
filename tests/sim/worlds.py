"""A deployment of the whole stack in the small world, driven request by request."""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from scenarios.plan import Plan
from scenarios.schema import Scenario
from sim.bridge import START_WALL_US, SimRuntime
from sim.prepare import prepare
from sim.steady import fill_caches
from sim.world import World
from tests.sim.small import Silence

T = TypeVar("T")


class Deployed:
    """A world with its runtime; used as a context manager, it sees that nothing is left over."""

    def __init__(self, scenario: Scenario, seed: int = 1, *, steady: bool = False) -> None:
        self.scenario = scenario
        self.runtime = SimRuntime()
        self.prepared = prepare(scenario)
        self.observer = Silence()
        engine = self.prepared.clone_engine()
        self.world = World(self.runtime, scenario, seed, engine, self.observer)
        if steady:
            rates = Plan(scenario, seed, len(self.prepared.population.conversions)).rates_per_s()
            fill_caches(self.world, scenario, rates, seed, self.prepared, 0, START_WALL_US)

    def run(self, *works: Coroutine[Any, Any, T]) -> list[T]:
        """The results of ``works``, begun together, once all that they started has ended."""
        results: list[T] = []

        async def main() -> None:
            results.extend(await self.runtime.gather(works))

        self.runtime.spawn(main())
        self.runtime.run()
        return results

    def __enter__(self) -> Deployed:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.runtime.shutdown()
