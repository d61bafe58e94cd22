"""Isolates: one thread each, first come, first served; how they begin and end; memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.cache.l1 import ENTRY_OVERHEAD_BYTES
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from scenarios.world import Edge
from sim.bridge import SimRuntime
from sim.draws import Draws, lives
from sim.edge import EdgeNode, Isolate, isolates_for
from sim.invocation import MAX_CONNECTIONS, Connections
from tests.sim.small import MS, SECOND, always, edge_node, invocation, scenario

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
        await own.compute(inv, runtime.now_us())
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


# --------------------------------------------------------------------------- which isolate


class Pool:
    """A node whose isolates are asked for at given instants; none computes."""

    def __init__(self, **edge: Any) -> None:
        self.asked: Scenario = scenario(edge={"cold_start_ms": always(50), **edge})
        self.runtime = SimRuntime()
        self.node: EdgeNode = edge_node(self.runtime, self.asked)

    def at(self, at_us: int, number: int = 0, stay_us: int = 0) -> Isolate:
        """The isolate that an invocation meets then; it stays in it for a while."""
        met: list[Isolate] = []

        async def work() -> None:
            inv = invocation(self.runtime, self.asked, number, self.node)
            own = self.node.pool.take(inv, self.runtime.now_us())
            own.enter(self.runtime.now_us())
            met.append(own)
            await self.runtime.sleep(stay_us)
            own.leave()

        self.runtime.spawn(work(), at_us=at_us)
        self.runtime.run(at_us + 1)
        return met[0]


def test_isolates_take_turns() -> None:
    """Requests are spread by their numbers, the same in both worlds."""
    pool = Pool(isolates_per_node=3)
    isolates = pool.node.pool.isolates
    met = [isolates.index(pool.at(10 + number, number)) for number in range(7)]
    assert met == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("rate", "edge", "expected"),
    [
        (0.1, {}, 1),
        (200, {}, 1),
        (201, {}, 2),
        (1e6, {}, 50),
        (1e6, {"isolates_per_node": 4}, 4),
        (900, {"requests_per_isolate_per_s": 300.0}, 3),
    ],
)
def test_load_decides_how_many_there_are(rate: float, edge: dict[str, Any], expected: int) -> None:
    """One for each share of the load, between one and the most, unless the scenario says."""
    assert isolates_for(Edge(**edge), rate) == expected


def test_a_life_that_is_over_is_followed_by_another() -> None:
    """At its end and not before: a fresh isolate, its L1 empty, ready after a cold start."""
    pool = Pool(isolate_lifetime_s=100.0)
    ends_us = lives(pool.asked, 1, "fra")(0, 0)
    first = pool.at(ends_us - 10)
    assert pool.at(ends_us - 5) is first
    second = pool.at(ends_us)
    assert second is not first
    assert second.free_at_us == ends_us + 50 * MS
    assert second.ends_us == ends_us + lives(pool.asked, 1, "fra")(0, 1)
    assert (pool.node.pool.cold_starts, pool.node.pool.ended) == (1, 1)


def test_lives_are_exponential_and_each_its_own() -> None:
    """Mean and median of 2,000 lives; another slot, generation or node has another life."""
    life_us = lives(scenario(edge={"isolate_lifetime_s": 100.0}), 1, "fra")
    found = sorted(life_us(0, generation) for generation in range(2_000))
    assert sum(found) / len(found) == pytest.approx(100 * SECOND, rel=0.1)
    assert found[1_000] == pytest.approx(69.3 * SECOND, rel=0.1)
    other = lives(scenario(edge={"isolate_lifetime_s": 100.0}), 1, "iad")
    assert len({life_us(0, 0), life_us(1, 0), life_us(0, 1), other(0, 0)}) == 4


@pytest.mark.parametrize(("pause_us", "cold"), [(5 * SECOND, 0), (5 * SECOND + 1, 1)])
def test_an_idle_isolate_goes(pause_us: int, cold: int) -> None:
    """After isolate_idle_s without anything in flight; never if the scenario does not say so."""
    pool, for_ever = Pool(isolate_idle_s=5.0), Pool()
    for each in (pool, for_ever):
        each.at(100, stay_us=1_000)
        each.at(100 + pause_us)
    assert (pool.node.pool.cold_starts, for_ever.node.pool.cold_starts) == (cold, 0)


def test_what_is_in_flight_keeps_an_isolate() -> None:
    """A long invocation is no idleness."""
    pool = Pool(isolate_idle_s=5.0)
    first = pool.at(100, stay_us=60 * SECOND)
    assert pool.at(30 * SECOND) is first


def test_too_much_memory_ends_an_isolate_and_lets_its_invocations_finish() -> None:
    """The request that goes over the limit still runs there; the next one starts afresh."""
    pool = Pool(base_memory_mib=10.0, request_memory_kib=1024.0, memory_limit_mib=12.0)
    met = [pool.at(at_us, stay_us=10 * SECOND) for at_us in (1, 2, 3, 4)]
    assert met[0] is met[1] is met[2] is not met[3]
    assert pool.node.pool.exceeded == 1
    assert pool.node.pool.memory_max_bytes == 13 * MIB
    assert met[3].memory.max_bytes == 11 * MIB
    assert len(pool.node.pool.caches) == 2


# --------------------------------------------------------------------------- memory


def test_memory_is_base_cache_and_invocations() -> None:
    """The most that was held at once, not what is held now."""
    own = isolate(SimRuntime(), base_memory_mib=10.0, request_memory_kib=512.0)
    assert own.memory.max_bytes == 10 * MIB
    own.enter(0)
    own.enter(0)
    own.leave()
    assert own.memory.max_bytes == 11 * MIB
    own.worker.cache.l1.set("key", "x" * 1000, 10**9)
    own.enter(0)
    held = 1000 + ENTRY_OVERHEAD_BYTES
    assert own.memory.max_bytes == 11 * MIB + held
    own.leave()
    own.leave()
    own.enter(0)
    assert own.memory.max_bytes == 11 * MIB + held


@pytest.mark.parametrize("base_mib", [0.0, 127.5])
def test_an_idle_isolate_holds_its_base(base_mib: float) -> None:
    """Also one that never gets a request."""
    runtime = SimRuntime()
    own = Isolate(runtime, stack_config(scenario()), Edge(base_memory_mib=base_mib))
    assert own.memory.max_bytes == base_mib * MIB


# --------------------------------------------------------------------------- connections


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_six_connections_at_a_time_first_in_first_out(lengths: list[int]) -> None:
    """All ask at once: the first six go, each further one when a place is free."""
    runtime = SimRuntime()
    connections = Connections(runtime)
    done: dict[int, int] = {}

    async def use(number: int, length: int) -> None:
        async with connections:
            await runtime.sleep(length)
        done[number] = runtime.now_us()

    for number, length in enumerate(lengths):
        runtime.spawn(use(number, length))
    runtime.run()
    free = [0] * MAX_CONNECTIONS
    for number, length in enumerate(lengths):
        at = free.index(min(free))
        free[at] += length
        assert done[number] == free[at]


@pytest.mark.parametrize("cancelled_us", [5, 10])
def test_who_is_cancelled_while_waiting_keeps_no_place(cancelled_us: int) -> None:
    """Before its turn, or in the very instant of it: the one behind it goes."""
    runtime = SimRuntime()
    connections = Connections(runtime)
    done: list[int] = []

    async def use(length: int) -> None:
        async with connections:
            await runtime.sleep(length)
        done.append(runtime.now_us())

    for _ in range(MAX_CONNECTIONS):
        runtime.spawn(use(10))
    waiting = runtime.spawn(use(1_000))
    runtime.spawn(use(3))

    async def cancel() -> None:
        await runtime.sleep(cancelled_us)
        waiting.cancel()

    runtime.spawn(cancel())
    runtime.run()
    assert sorted(done) == [10] * MAX_CONNECTIONS + [13]


def test_defaults_of_draws_have_cold_starts() -> None:
    """Each request that meets a cold isolate has its own."""
    draws = Draws(scenario(edge={"cold_start_ms": {"p50": 5, "p99": 200}}), 1)
    found = sorted(draws.cold_start.us(number) for number in range(4_000))
    assert found[2_000] == pytest.approx(5 * MS, rel=0.1)
    assert found[3_960] == pytest.approx(200 * MS, rel=0.25)
