"""The queue consumer: a touch reaches the stored attribution and the caches, within KV's rate."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.config import StackConfig
from reference_impl.isolate.worker import Worker
from reference_impl.keys import cache_key
from reference_impl.ports import D1Error, KVError, Message
from sim.bridge import Cancelled
from tests.reference_impl.fakes import SECOND_US, Edge
from tests.reference_impl.touches import touch_message as touch

MODELS = ("last_click", "linear")
CONFIG = StackConfig(attribution_models=MODELS)


@pytest.fixture
def worker(edge: Edge) -> Worker:
    return Worker(edge.runtime, CONFIG)


def touches_in(text: str | None) -> int:
    return len(json.loads(text or "{}")["attribution"])


def writes(edge: Edge) -> dict[str, list[int]]:
    """When KV took a write, by key."""
    at_us = defaultdict(list)
    for put in edge.kv.puts:
        at_us[put.key].append(put.at_us)
    return at_us


def test_c31_a_touch_appears_everywhere(edge: Edge, worker: Worker) -> None:
    """A conversion already attributed: D1, KV and L1 have the third touch, for every model."""

    async def work() -> list[str]:
        for i in range(2):
            await touch(edge, worker, i)
        for model in MODELS:
            await worker.attribution(edge.context(), "c1", model)
        await edge.sleep_s(2)
        assert await worker.consume(edge.context(), [await touch(edge, worker, 2)]) == set()
        return [(await worker.attribution(edge.context(), "c1", m)).body for m in MODELS]

    assert [touches_in(text) for text in edge.run(work())] == [3, 3]
    keys = [cache_key("attribution", "c1", model) for model in MODELS]
    assert [touches_in(edge.kv.text(key)) for key in keys] == [3, 3]
    assert edge.rows("SELECT count(*) FROM multi_touch_attribution GROUP BY attribution_model") == [
        (3,),
        (3,),
    ]


def test_c08_a_conversion_asked_for_too_early_appears(edge: Edge, worker: Worker) -> None:
    """A cached 404 gives way to the journey as soon as its message was handled."""

    async def work() -> list[int]:
        before = await worker.attribution(edge.context(), "c1", "linear")
        await edge.sleep_s(2)
        await worker.consume(edge.context(), [await touch(edge, worker, 0)])
        after = await worker.attribution(edge.context(), "c1", "linear")
        return [before.status, after.status]

    assert edge.run(work()) == [404, 200]


def test_a_visitor_who_has_not_converted_changes_nothing(edge: Edge, worker: Worker) -> None:
    """Messages without a conversion are done at once: no statement, no write."""
    messages = [Message(f"m{i}", {"event_id": "e", "conversion_id": None}, 0) for i in range(10)]
    assert edge.run(worker.consume(edge.context(), messages)) == set()
    assert (edge.d1.calls, edge.kv.puts, edge.runtime.now_us()) == ([], [], 0)


def test_a11_one_computation_for_a_conversion_in_a_batch(edge: Edge, worker: Worker) -> None:
    """Ten touches of one conversion in one batch are one read, one store, one write a key, and
    leave the outbox together."""

    async def work() -> set[str]:
        messages = [await touch(edge, worker, i) for i in range(10)]
        edge.d1.calls.clear()
        return await worker.consume(edge.context(), messages)

    assert edge.run(work()) == set()
    assert len(edge.d1.calls) == 3
    assert {len(at_us) for at_us in writes(edge).values()} == {1}


offsets_us = st.lists(
    st.integers(0, 60_000) | st.integers(0, 3 * SECOND_US), min_size=1, max_size=25
)


@given(offsets_us)
@settings(max_examples=40)
def test_c31_many_touches_are_spaced_and_the_last_one_wins(arrivals_us: list[int]) -> None:
    """However they arrive: never two writes of a key within a second, and all touches end up."""
    edge = Edge()
    worker = Worker(edge.runtime, CONFIG)

    async def one(number: int, at_us: int) -> set[str]:
        await edge.runtime.sleep_until(at_us)
        return await worker.consume(edge.context(), [await touch(edge, worker, number)])

    async def work() -> list[set[str]]:
        return await edge.runtime.gather(one(*each) for each in enumerate(arrivals_us))

    assert edge.run(work()) == [set()] * len(arrivals_us)
    for key, at_us in writes(edge).items():
        assert all(b - a >= SECOND_US for a, b in pairwise(at_us))
        assert len(at_us) <= 5
        assert touches_in(edge.kv.text(key)) == len(arrivals_us)
        assert worker.cache.l1.get(key) in (edge.kv.text(key), None)
    assert edge.kv.refused == 0
    counts = edge.rows("SELECT count(*) FROM multi_touch_attribution GROUP BY attribution_model")
    assert counts == [(len(arrivals_us),)] * len(MODELS)


def test_g02_one_failing_conversion_does_not_fail_the_others(edge: Edge, worker: Worker) -> None:
    """Only the messages of what failed come back to be delivered again."""

    async def work() -> set[str]:
        messages = [await touch(edge, worker, i, f"c{i % 2}") for i in range(4)]
        edge.rows(
            "CREATE TRIGGER stop BEFORE INSERT ON multi_touch_attribution"
            " WHEN NEW.conversion_id = 'c1' BEGIN SELECT RAISE(ABORT, 'stopped'); END"
        )
        return await worker.consume(edge.context(), messages)

    assert edge.run(work()) == {"m1", "m3"}
    stored = edge.rows("SELECT DISTINCT conversion_id FROM multi_touch_attribution")
    assert stored == [("c0",)]


@pytest.mark.parametrize("broken", ["d1", "kv"])
def test_what_failed_is_made_good_by_the_next_delivery(
    edge: Edge, worker: Worker, broken: str
) -> None:
    """With D1 or KV down every message comes back; once they are up again all is done."""

    async def work() -> list[set[str]]:
        messages = [await touch(edge, worker, i) for i in range(3)]
        if broken == "d1":
            edge.d1.fail = D1Error("D1_ERROR: overloaded")
        else:
            edge.kv.fail_writes = KVError("KV PUT failed", 500)
        failed = await worker.consume(edge.context(), messages)
        edge.d1.fail = edge.kv.fail_writes = None
        return [failed, await worker.consume(edge.context(), messages)]

    assert edge.run(work()) == [{"m0", "m1", "m2"}, set()]
    assert touches_in(edge.kv.text(cache_key("attribution", "c1", "linear"))) == 3


def test_a_failed_refresh_fails_all_that_shared_it(edge: Edge, worker: Worker) -> None:
    """Three batches wait for one refresh: each gets its messages back when it fails."""

    async def work() -> list[set[str]]:
        messages = [await touch(edge, worker, i) for i in range(4)]
        await worker.consume(edge.context(), messages[:1])
        edge.d1.fail = D1Error("D1_ERROR: overloaded")
        return await edge.runtime.gather(
            worker.consume(edge.context(), [message]) for message in messages[1:]
        )

    assert Counter(tuple(failed) for failed in edge.run(work())) == {
        ("m1",): 1,
        ("m2",): 1,
        ("m3",): 1,
    }


@pytest.mark.parametrize("broken", ["d1", "kv"])
def test_a_failed_refresh_does_not_fail_the_next(edge: Edge, worker: Worker, broken: str) -> None:
    """A touch that came while a refresh was running waits for its end, whatever that is: its own
    refresh reads and writes for itself."""

    async def work() -> list[set[str]]:
        messages = [await touch(edge, worker, i) for i in range(2)]
        if broken == "d1":
            edge.d1.fail = D1Error("D1_ERROR: overloaded")
        else:
            edge.kv.fail_writes = KVError("KV PUT failed", 500)
        first = edge.runtime.spawn(worker.consume(edge.context(), messages[:1]))
        await edge.runtime.sleep(1)
        second = edge.runtime.spawn(worker.consume(edge.context(), messages[1:]))
        failed = await first
        edge.d1.fail = edge.kv.fail_writes = None
        return [failed, await second]

    assert edge.run(work()) == [{"m0"}, set()]


@pytest.mark.parametrize("after_us", [1, 500_000, 1_010_000])
def test_a_cancelled_refresh_does_not_block_the_next(
    edge: Edge, worker: Worker, after_us: int
) -> None:
    """Cancelled while waiting for its turn or while running: those who shared it try again."""

    async def work() -> list[set[str]]:
        messages = [await touch(edge, worker, i) for i in range(3)]
        await worker.consume(edge.context(), messages[:1])
        first = edge.runtime.spawn(worker.consume(edge.context(), messages[1:2]))
        await edge.runtime.sleep(1)
        shared = edge.runtime.spawn(worker.consume(edge.context(), messages[2:]))
        await edge.runtime.sleep(after_us)
        first.cancel()
        with pytest.raises(Cancelled):
            await first
        return [await shared, await worker.consume(edge.context(), messages[2:])]

    assert edge.run(work()) == [{"m2"}, set()]


def test_c31_models_that_are_not_kept_up_to_date_are_asked_again(
    edge: Edge, worker: Worker
) -> None:
    """An answer by another model, cached before the touch, has the touch after it."""

    async def work() -> list[int]:
        await touch(edge, worker, 0)
        lengths = []
        for number in (1, 2):
            answer = await worker.attribution(edge.context(), "c1", "u_shape")
            lengths.append(len(json.loads(answer.body)["attribution"]))
            await edge.sleep_s(2)
            await worker.consume(edge.context(), [await touch(edge, worker, number)])
            await edge.sleep_s(2)
        return lengths

    assert edge.run(work()) == [1, 2]
