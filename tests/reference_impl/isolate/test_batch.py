"""Many conversions at once: results, round trips, how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.adapters.sqlite import Command
from reference_impl.attribution.models import MODELS
from reference_impl.config import StackConfig
from reference_impl.d1.arguments import BadArgument
from reference_impl.isolate.batch import BatchResult
from reference_impl.isolate.worker import Worker
from reference_impl.ports import D1Result
from tests.reference_impl.batches import Stack, percents
from tests.reference_impl.fakes import Edge, SqliteExecutor
from tests.reference_impl.touches import walk


@pytest.fixture
def stack(edge: Edge) -> Stack:
    return Stack(edge)


# --------------------------------------------------------------------------- results


@pytest.mark.parametrize("model", MODELS)
def test_a01_a03_each_model_credits_the_conversions_own_journey(
    edge: Edge, stack: Stack, model: str
) -> None:
    """Three touches are three credits that sum to 100; IDs are conversions, not users."""

    async def work() -> list[BatchResult]:
        await walk(edge, stack.queries, "c1", "x", "y", "z")
        return await stack.process(["c1", "u-c1"], model)

    found, user = edge.run(work())
    assert [touch["utm_source"] for touch in found.attribution or []] == ["x", "y", "z"]
    assert sum(percents(found)) == pytest.approx(100)
    assert user.error == "No journey found"


def test_a02_no_journey_is_a_result(edge: Edge, stack: Stack) -> None:
    """The same text, cached or not; nothing is stored of it."""

    async def work() -> list[list[BatchResult]]:
        return [await stack.process(["nobody"]) for _ in range(2)]

    (first,), (second,) = edge.run(work())
    assert first == BatchResult("nobody", "linear", error="No journey found")
    assert second == BatchResult("nobody", "linear", error="No journey found", from_cache=True)
    assert len(edge.d1.calls) == 1


def test_a04_the_newest_touch_is_the_last(edge: Edge, stack: Stack) -> None:
    """last_click credits the newest touch and first_click the oldest."""

    async def work() -> list[list[float]]:
        await walk(edge, stack.queries, "c1", "x", "y", "z")
        models = ("last_click", "first_click")
        return [percents((await stack.process(["c1"], model))[0]) for model in models]

    assert edge.run(work()) == [[0, 0, 100], [100, 0, 0]]


def test_a05_a_long_journey_is_credited_whole(edge: Edge, stack: Stack) -> None:
    """150 touches, the first of them included."""

    async def work() -> list[BatchResult]:
        await walk(edge, stack.queries, "c1", *(f"t{i}" for i in range(150)))
        return await stack.process(["c1"], "first_click")

    (result,) = edge.run(work())
    assert (len(percents(result)), percents(result)[0]) == (150, 100)


def test_a07_a_result_has_one_form(edge: Edge, stack: Stack) -> None:
    """Computed, from KV, and from the memory of the isolate: only ``from_cache`` differs. Who
    edits a result edits no other."""

    async def work() -> list[BatchResult]:
        await walk(edge, stack.queries, "c1", "x", "y")
        results = await stack.process(["c1", "c1"])
        await edge.sleep_s(1)
        other = Stack(edge)
        return [*results, *await stack.process(["c1"]), *await other.process(["c1"])]

    results = edge.run(work())
    assert [result.from_cache for result in results] == [False, False, True, True]
    told = [result.to_json() for result in results]
    assert {tuple(each) for each in told} == {
        ("conversion_id", "attribution_model", "attribution", "from_cache")
    }
    told[0]["attribution"].clear()
    assert all(each["attribution"] == told[1]["attribution"] for each in told[1:])
    assert len(told[1]["attribution"]) == 2


@pytest.mark.parametrize("model", ["", "LINEAR", "valueOf", "__proto__", "constructor", None, []])
def test_a08_a09_an_unknown_model_is_an_error(edge: Edge, stack: Stack, model: Any) -> None:
    """One that names the seven; nothing is looked up, computed or cached."""

    async def work() -> None:
        with pytest.raises(BadArgument, match=r"one of last_click, .*, data_driven"):
            await stack.process(["c1"], model)

    edge.run(work())
    assert (edge.kv.reads, edge.d1.calls, edge.kv.puts) == (0, [], [])


def test_a10_keys_do_not_meet(edge: Edge, stack: Stack) -> None:
    """A conversion named like another's key has its own answer."""

    async def work() -> list[BatchResult]:
        await walk(edge, stack.queries, "c1:linear", "x")
        await stack.process(["c1:linear"], "last_click")
        return await stack.process(["c1", "c1:linear", "c1%3Alinear"])

    errors = [result.error for result in edge.run(work())]
    assert errors == ["No journey found", None, "No journey found"]


def test_ids_that_cannot_be_are_refused_one_by_one(edge: Edge, stack: Stack) -> None:
    """Each in its place, without a look-up; a text instead of a list is an error."""
    bad: list[Any] = ["", "x" * 129, "\ud800", None, 5]

    async def work() -> list[BatchResult]:
        await walk(edge, stack.queries, "c1", "x")
        with pytest.raises(BadArgument, match="list of IDs"):
            await stack.process("c1")
        return await stack.process([*bad, "c1"])

    *refused, good = edge.run(work())
    assert [result.conversion_id for result in refused] == bad
    assert all("conversion_id must be text" in (result.error or "") for result in refused)
    assert (good.error, edge.kv.reads) == (None, 1)


def test_an_empty_call(edge: Edge, stack: Stack) -> None:
    """No conversions, no results, no work."""
    assert edge.run(stack.process([])) == []
    assert (edge.d1.calls, edge.runtime.now_us()) == ([], 0)


# --------------------------------------------------------------------------- round trips


def test_d06_a_batch_is_one_read_and_one_transaction(edge: Edge, stack: Stack) -> None:
    """120 conversions are three batches: three reads, three stores, 100 values at most."""

    async def work() -> list[BatchResult]:
        return await stack.process(await stack.walks(120))

    assert all(percents(result) == [50, 50] for result in edge.run(work()))
    assert len(stack.reads()) == 3
    assert len(edge.d1.calls) == 6
    assert max(len(command.values) for call in edge.d1.calls for command in call) <= 100


class Gauge(SqliteExecutor):
    """Counts how many calls are under way."""

    under_way = 0
    peak = 0

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            return await super().execute(commands)
        finally:
            self.under_way -= 1


@pytest.mark.parametrize("calls", [1, 3])
def test_a06_five_batches_at_once_and_no_more(calls: int) -> None:
    """Twelve batches by one call, or 36 by three of one isolate: the peak is five, and reached."""
    edge = Edge()
    gauge = edge.d1 = Gauge(edge.runtime)
    stack = Stack(edge)

    async def work() -> list[list[BatchResult]]:
        ids = await stack.walks(600 * calls)
        parts = [ids[at * 600 : at * 600 + 600] for at in range(calls)]
        return await edge.runtime.gather(stack.process(part) for part in parts)

    assert [len(results) for results in edge.run(work())] == [600] * calls
    assert gauge.peak == 5
    assert len(stack.reads()) == 12 * calls


@given(st.lists(st.sampled_from([f"c{i}" for i in range(8)] + ["nobody"]), max_size=120))
@settings(max_examples=20)
def test_a11_g01_duplicates_are_computed_once_and_order_is_kept(asked: list[str]) -> None:
    """Whatever is asked for how often: one result a place, one computation a conversion."""
    edge = Edge()
    stack = Stack(edge)

    async def work() -> list[BatchResult]:
        await stack.walks(8)
        return await stack.process(asked)

    assert [result.conversion_id for result in edge.run(work())] == asked
    read = [value for call in stack.reads() for value in call[0].values]
    assert sorted(read) == sorted(set(asked))  # type: ignore[type-var]
    assert len(edge.kv.puts) == len(set(asked))


def test_a11_calls_at_once_share_what_they_compute(edge: Edge, stack: Stack) -> None:
    """The same conversions in opposite orders, and one asked for singly: each is read once, and
    nobody waits for ever."""
    worker = Worker(edge.runtime, StackConfig())
    worker.cache = stack.cache

    async def work() -> list[Any]:
        ids = await stack.walks(100)
        single = edge.runtime.spawn(worker.attribution(edge.context(), "c0", "linear"))
        both = await edge.runtime.gather([stack.process(ids), stack.process(ids[::-1])])
        return [*both, (await single).status]

    first, second, status = edge.run(work())
    assert first == second[::-1]
    assert status == 200
    read = [value for call in stack.reads() for value in call[0].values]
    assert len(read) == len(set(read)) == 100
