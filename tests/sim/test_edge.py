"""Isolates: one thread each, first come, first served, and an account of memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.l1 import ENTRY_OVERHEAD_BYTES
from scenarios.stack import stack_config
from scenarios.world import Edge
from sim.bridge import SimRuntime
from sim.edge import EdgeNode, Isolate
from sim.kv import KVNodeCache
from tests.sim.small import always, invocation, scenario

MIB = 1024 * 1024


def isolate(runtime: SimRuntime, **edge: Any) -> Isolate:
    asked = scenario(edge=edge)
    return Isolate(runtime, stack_config(asked), asked.edge)


@given(
    st.lists(st.integers(1, 3_000), min_size=1, max_size=30),
    st.floats(0.001, 5).map(lambda ms: round(ms, 3)),
)
def test_cpu_is_one_queue(gaps_us: list[int], cpu_ms: float) -> None:
    """Each computes when it has come and those before it are done, and says how long it took."""
    runtime = SimRuntime()
    asked = scenario(edge={"cpu_ms": always(cpu_ms)})
    own = Isolate(runtime, stack_config(asked), asked.edge)
    done: list[tuple[int, int | None]] = []

    async def work(number: int) -> None:
        inv = invocation(runtime, asked, number)
        await own.compute(inv)
        done.append((runtime.now_us(), inv.evidence.cpu_us))

    at_us = free_us = 0
    cpu_us = round(cpu_ms * 1000)
    expected = []
    for number, gap_us in enumerate(gaps_us):
        at_us += gap_us
        runtime.spawn(work(number), at_us=at_us)
        free_us = max(at_us, free_us) + cpu_us
        expected.append((free_us, cpu_us))
    runtime.run()
    assert done == expected


def test_isolates_take_turns() -> None:
    """Requests are spread by their numbers, the same in both worlds."""
    runtime = SimRuntime()
    isolates = [isolate(runtime) for _ in range(3)]
    node = EdgeNode("fra", isolates, KVNodeCache(runtime))
    assert [isolates.index(node.isolate(number)) for number in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_memory_is_base_cache_and_invocations() -> None:
    """The most that was held at once, not what is held now."""
    own = isolate(SimRuntime(), base_memory_mib=10.0, request_memory_kib=512.0)
    assert own.memory.max_bytes == 10 * MIB
    own.memory.enter()
    own.memory.enter()
    own.memory.leave()
    assert own.memory.max_bytes == 11 * MIB
    own.worker.cache.l1.set("key", "x" * 1000, 10**9)
    own.memory.enter()
    held = 1000 + ENTRY_OVERHEAD_BYTES
    assert own.memory.max_bytes == 11 * MIB + held
    own.memory.leave()
    own.memory.leave()
    own.memory.enter()
    assert own.memory.max_bytes == 11 * MIB + held


@pytest.mark.parametrize("base_mib", [0.0, 127.5])
def test_an_idle_isolate_holds_its_base(base_mib: float) -> None:
    """Also one that never gets a request."""
    runtime = SimRuntime()
    own = Isolate(runtime, stack_config(scenario()), Edge(base_memory_mib=base_mib))
    assert own.memory.max_bytes == base_mib * MIB
