"""The KV contract on the embedded store and on one node of the modelled world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from reference_impl.adapters.redis_kv import embedded_kv
from scenarios.schema import Scenario
from sim.bridge import SimRuntime
from sim.draws import Draws
from sim.edge import EdgeNode
from sim.invocation import Invocation
from sim.kv import KVBinding, KVNodeCache, KVStore
from tests.contracts.kv_contract import CASES, Case, KVWorld

Runner = Callable[[Case], None]


def on_memory(case: Case) -> None:
    """On fakeredis; lives count by a clock that is moved by hand."""
    now_s = 1_767_225_600.0

    async def sleep_s(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def now() -> float:
        return now_s

    async def main() -> None:
        await case(KVWorld(embedded_kv(now_s=now), sleep_s, now))

    asyncio.run(main())


def on_one_node(case: Case) -> None:
    """In the world: with its delays, its copies and its one write a second, in virtual time."""
    runtime = SimRuntime()
    cache = KVNodeCache(runtime)
    draws = Draws(Scenario(name="contract", description="defaults"), seed=1)
    invocation = Invocation(runtime, draws, 0, EdgeNode("fra", [], cache))
    binding = KVBinding(invocation, KVStore(runtime, 0, 1_000_000), cache)

    async def sleep_s(seconds: float) -> None:
        await runtime.sleep(round(seconds * 1_000_000))

    ended = []

    async def main() -> None:
        await case(KVWorld(binding, sleep_s, lambda: runtime.wall_us() / 1e6))
        ended.append(True)

    runtime.spawn(main())
    runtime.run()
    assert ended


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("runner", [on_memory, on_one_node], ids=["memory", "node"])
def test_kv_contract(runner: Runner, case: Case) -> None:
    """Each case holds on each implementation."""
    runner(case)


def test_every_case_says_what_it_holds() -> None:
    """A case without a docstring, or two of one name, would be a hole in the contract."""
    assert all(case.__doc__ for case in CASES)
    assert len({case.__name__ for case in CASES}) == len(CASES)
