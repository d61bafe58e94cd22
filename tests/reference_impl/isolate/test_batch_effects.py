"""Many conversions at once: what fails, what is stored, what is cached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from reference_impl.attribution.markov import removal_effects
from reference_impl.attribution.models import MODELS, Credit, Touch, models
from reference_impl.config import StackConfig
from reference_impl.isolate.batch import BatchResult
from reference_impl.isolate.worker import Worker
from reference_impl.keys import cache_key
from reference_impl.ports import D1Error, KVError
from sim.bridge import Cancelled
from tests.reference_impl.batches import Stack, percents
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import walk


@pytest.fixture
def stack(edge: Edge) -> Stack:
    return Stack(edge)


# --------------------------------------------------------------------------- failures


def test_g02_one_failing_conversion_does_not_fail_the_others(
    edge: Edge, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be credited, one that cannot be stored, one that nobody knows."""

    def picky(journey: Sequence[Touch]) -> list[Credit]:
        if journey[0].utm_source == "bad":
            raise ArithmeticError("no such credit")
        return MODELS["linear"](journey)

    async def work() -> list[BatchResult]:
        ids = await stack.walks(4)
        await walk(edge, stack.queries, "uncreditable", "bad")
        monkeypatch.setattr(stack.processor, "_models", {"linear": picky})
        edge.rows(
            "CREATE TRIGGER stop BEFORE INSERT ON multi_touch_attribution"
            " WHEN NEW.conversion_id = 'c1' BEGIN SELECT RAISE(ABORT, 'stopped'); END"
        )
        return await stack.process([*ids, "nobody", "uncreditable"])

    results = edge.run(work())
    assert [bool(result.error) for result in results] == [False, True, False, False, True, True]
    assert "stopped" in (results[1].error or "")
    assert results[5].error == "no such credit"
    stored = edge.rows("SELECT DISTINCT conversion_id FROM multi_touch_attribution ORDER BY 1")
    assert stored == [("c0",), ("c2",), ("c3",)]
    assert {put.key for put in edge.kv.puts} == {
        cache_key("attribution", each, "linear") for each in ("c0", "c2", "c3", "nobody")
    }


def test_a_database_that_is_down_fails_each_and_is_not_cached(edge: Edge, stack: Stack) -> None:
    """One try a batch; once it is up again all are answered."""

    async def work() -> list[list[BatchResult]]:
        ids = await stack.walks(60)
        edge.d1.fail = D1Error("D1_ERROR: D1 DB is overloaded.")
        failed = await stack.process(ids)
        assert len(edge.d1.calls) == 2
        edge.d1.fail = None
        return [failed, await stack.process(ids)]

    failed, done = edge.run(work())
    assert {result.error for result in failed} == {"D1_ERROR: D1 DB is overloaded."}
    assert all(percents(result) == [50, 50] for result in done)


def test_g04_kv_down_costs_only_the_cache(edge: Edge, stack: Stack) -> None:
    """Reads and writes fail: every conversion is computed and stored."""
    edge.kv.fail_reads = edge.kv.fail_writes = KVError("KV is down", 500)

    async def work() -> list[BatchResult]:
        return await stack.process(await stack.walks(60))

    assert all(percents(result) == [50, 50] for result in edge.run(work()))
    assert edge.rows("SELECT count(*) FROM multi_touch_attribution") == [(120,)]


@pytest.mark.parametrize("after_us", [1, 6_000, 20_000, 40_000])
def test_a_cancelled_call_blocks_nobody(edge: Edge, stack: Stack, after_us: int) -> None:
    """Cancelled at any stage: who waited for it is told, and the next call does the work."""

    async def work() -> list[list[BatchResult]]:
        ids = await stack.walks(3)
        first = edge.runtime.spawn(stack.process(ids))
        await edge.runtime.sleep(1)
        waiting = edge.runtime.spawn(stack.process(ids))
        await edge.runtime.sleep(after_us)
        first.cancel()
        with pytest.raises(Cancelled):
            await first
        return [await waiting, await stack.process(ids)]

    told, done = edge.run(work())
    assert {result.error for result in told} == {"the call that computed it ended"}
    assert all(percents(result) == [50, 50] for result in done)


# --------------------------------------------------------------------------- stored and cached


def test_results_are_stored_and_summed(edge: Edge, stack: Stack) -> None:
    """Before they are cached, model by model; what is cached is not computed again."""

    async def work() -> list[BatchResult]:
        ids = await stack.walks(60)
        await stack.process(ids, "first_click")
        await edge.sleep_s(1)
        await stack.process(ids, "linear")
        calls = len(edge.d1.calls)
        again = await stack.process(ids, "linear")
        assert len(edge.d1.calls) == calls
        return again

    assert all(result.from_cache for result in edge.run(work()))
    columns = "utm_source, attribution_model, total_attribution, total_conversions"
    assert edge.rows(f"SELECT {columns} FROM channel_performance ORDER BY 1, 2") == [
        ("a", "first_click", 6000.0, 60),
        ("a", "linear", 3000.0, 60),
        ("b", "linear", 3000.0, 60),
    ]
    assert edge.kv.refused == 0


def test_stale_results_are_renewed_behind_the_answer(edge: Edge) -> None:
    """Past their life two of three are served as they were, each renewed alone once the batch is
    done; the third, which no cache has, is computed by the batch."""
    stack = Stack(edge, StackConfig(kv_stale_ttl_s=100))

    async def work() -> list[list[BatchResult]]:
        ids = await stack.walks(3)
        await stack.process(ids[:2])
        await edge.sleep_s(3601)
        edge.rows("UPDATE user_journeys SET utm_source = 'changed'")
        stale = await stack.process(ids)
        await edge.sleep_s(1)
        return [stale, await stack.process(ids)]

    stale, renewed = edge.run(work())
    assert [result.from_cache for result in stale] == [True, True, False]
    assert [sources(result) for result in stale] == [["a", "b"]] * 2 + [["changed", "changed"]]
    assert [sources(result) for result in renewed] == [["changed", "changed"]] * 3
    assert sorted(len(call[0].values) for call in stack.reads()) == [1, 1, 1, 2]


def sources(result: BatchResult) -> list[str]:
    return [touch["utm_source"] for touch in result.attribution or []]


def test_a_batch_and_a_single_question_have_one_answer(edge: Edge, stack: Stack) -> None:
    """The same key and the same text, whoever computed it."""
    worker = Worker(edge.runtime, StackConfig())

    async def work() -> list[Any]:
        ids = await stack.walks(2)
        results = await stack.process(ids)
        single = await worker.attribution(edge.context(), ids[0], "linear")
        return [
            results[0].text,
            single.body,
            edge.kv.text(cache_key("attribution", "c0", "linear")),
        ]

    text, body, cached = edge.run(work())
    assert text == body == cached
    assert json.loads(body)["conversion_id"] == "c0"


def test_b11_data_driven_uses_what_it_has_learnt(edge: Edge, stack: Stack) -> None:
    """Without a history the credit is linear; with one it is that of the removal effects."""
    effects = removal_effects([(("a", "b"), 3, 1), (("b",), 2, 5), (("a",), 0, 4)])

    async def work() -> list[list[float]]:
        ids = await stack.walks(2)
        before = await stack.process(ids[:1], "data_driven")
        stack.processor.learn(effects)
        after = await stack.process(ids[1:], "data_driven")
        return [percents(before[0]), percents(after[0])]

    before, after = edge.run(work())
    assert before == [50, 50]
    journey = [Touch("a", ""), Touch("b", "")]
    expected = [credit.percent for credit in models(effects)["data_driven"](journey)]
    assert after == expected != before
