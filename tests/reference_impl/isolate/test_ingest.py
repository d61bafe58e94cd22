"""Acceptance without loss: durable before the answer, followed up at least once, counted once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.config import Accept, StackConfig
from reference_impl.isolate.ingest import PATIENCE_US, SWEPT_AT_ONCE
from reference_impl.isolate.worker import Worker
from reference_impl.ports import D1Error, KVError, Message, QueueError
from tests.reference_impl.fakes import SECOND_US, Edge
from tests.reference_impl.touches import touch_event

PATIENCE_S = PATIENCE_US // SECOND_US
MODELS = ("last_click", "linear")


def worker_of(edge: Edge, accept: Accept) -> Worker:
    return Worker(edge.runtime, StackConfig(accept=accept, attribution_models=MODELS))


def sent(edge: Edge, since: int = 0) -> list[Message]:
    """What the queue was given, as it would deliver it."""
    return [Message(f"m{n}", body, 0) for n, body in enumerate(edge.queue.sent) if n >= since]


def waiting(edge: Edge) -> list[str]:
    """The events from which something is still to follow."""
    rows = edge.rows(
        "SELECT event_id FROM user_journeys WHERE resend_at IS NOT NULL ORDER BY event_id"
    )
    return [row[0] for row in rows]


def attributed(edge: Edge) -> dict[str, int]:
    """Stored touches by conversion and model, where both models have as many."""
    rows = edge.rows(
        "SELECT conversion_id, count(*) FROM multi_touch_attribution GROUP BY conversion_id"
    )
    return {conversion_id: count // len(MODELS) for conversion_id, count in rows}


# --------------------------------------------------------------------------- by D1


def test_the_committed_row_is_the_outbox(edge: Edge) -> None:
    """What something follows from waits with its row until that is done; the rest never does."""

    async def work() -> list[list[str]]:
        worker = worker_of(edge, "d1")
        body = [touch_event(0), touch_event(1, None), touch_event(2)]
        assert (await worker.track(edge.context(), body)).status == 202
        seen = [waiting(edge)]
        await edge.sleep_s(1)
        assert await worker.consume(edge.context(), sent(edge)) == set()
        await edge.sleep_s(1)
        return [*seen, waiting(edge)]

    assert edge.run(work()) == [["e0", "e2"], []]
    assert len(edge.queue.sent) == 3


def test_the_sweep_sends_again_what_was_never_handled(edge: Edge) -> None:
    """After the patience and not before; then ever more seldom, until it has been handled."""

    async def work() -> list[int]:
        worker = worker_of(edge, "d1")
        edge.queue.fail = True
        await worker.track(edge.context(), touch_event(0))
        await edge.sleep_s(1)
        edge.queue.fail = False
        swept = []
        for minute in range(30):
            if await worker.sweep(edge.context()):
                swept.append(minute)
            await edge.sleep_s(60)
        assert worker.ingest.sends_failed == 1
        await worker.consume(edge.context(), sent(edge))
        await edge.sleep_s(100 * PATIENCE_S)
        assert await worker.sweep(edge.context()) == 0
        return swept

    assert edge.run(work()) == [2, 5, 11, 23]
    assert attributed(edge) == {"c1": 1}


def test_a_sweep_takes_many_in_batches(edge: Edge) -> None:
    """As many as there are, a hundred a message batch; the queue takes no more at once."""

    async def work() -> tuple[int, int]:
        worker = worker_of(edge, "d1")
        edge.queue.fail = True
        for start in range(0, 250, 50):
            body = [touch_event(number, f"c{number}") for number in range(start, start + 50)]
            await worker.track(edge.context(), body)
        edge.queue.fail = False
        await edge.sleep_s(2 * PATIENCE_S)
        return await worker.sweep(edge.context()), await worker.sweep(edge.context())

    assert edge.run(work()) == (250, 0)
    assert len({body["event_id"] for body in edge.queue.sent}) == 250 > 2 * SWEPT_AT_ONCE


@pytest.mark.parametrize("broken", ["d1", "queue"])
def test_a_sweep_that_fails_loses_nothing(edge: Edge, broken: str) -> None:
    """The error is the caller's, and a later sweep sends."""

    async def work() -> int:
        worker = worker_of(edge, "d1")
        edge.queue.fail = True
        await worker.track(edge.context(), touch_event(0))
        await edge.sleep_s(2 * PATIENCE_S)
        edge.queue.fail = broken == "queue"
        edge.d1.fail = D1Error("D1_ERROR: down") if broken == "d1" else None
        with pytest.raises((D1Error, QueueError)):
            await worker.sweep(edge.context())
        edge.queue.fail, edge.d1.fail = False, None
        await edge.sleep_s(10 * PATIENCE_S)
        return await worker.sweep(edge.context())

    assert edge.run(work()) == 1


def test_what_stays_in_the_outbox_is_handled_once_more(edge: Edge) -> None:
    """D1 fails behind the handling: the touch is attributed, and attributing it again changes
    nothing."""

    async def work() -> list[list[str]]:
        worker = worker_of(edge, "d1")
        await worker.track(edge.context(), touch_event(0))
        await edge.sleep_s(1)
        edge.rows(
            "CREATE TRIGGER stop BEFORE UPDATE ON user_journeys WHEN NEW.resend_at IS NULL "
            "BEGIN SELECT RAISE(ABORT, 'stopped'); END"
        )
        await worker.consume(edge.context(), sent(edge))
        await edge.sleep_s(1)
        seen = [waiting(edge)]
        edge.rows("DROP TRIGGER stop")
        await edge.sleep_s(2 * PATIENCE_S)
        await worker.sweep(edge.context())
        await worker.consume(edge.context(), sent(edge, 1))
        await edge.sleep_s(1)
        return [*seen, waiting(edge)]

    assert edge.run(work()) == [["e0"], []]
    assert attributed(edge) == {"c1": 1}


# --------------------------------------------------------------------------- by the queue


def test_the_message_carries_the_event(edge: Edge) -> None:
    """Nothing is in D1 before the consumer; then the row as it was accepted, and its credit."""

    async def work() -> None:
        worker = worker_of(edge, "queue")
        answer = await worker.track(edge.context(), [touch_event(0), touch_event(1, None)])
        told = [{"event_id": f"e{n}", "duplicate": None} for n in range(2)]
        assert json.loads(answer.body) == {"accepted": True, "events": told}
        assert edge.rows("SELECT * FROM user_journeys") == []
        await edge.sleep_s(60)
        assert await worker.consume(edge.context(), sent(edge)) == set()

    edge.run(work())
    columns = "event_id, utm_source, conversion_id, created_at, resend_at"
    created_at = "2026-01-01T00:00:00.000Z"
    assert edge.rows(f"SELECT {columns} FROM user_journeys ORDER BY id") == [
        ("e0", "s0", "c1", created_at, None),
        ("e1", "s1", None, created_at, None),
    ]
    assert attributed(edge) == {"c1": 1}


def test_what_the_queue_does_not_take_is_not_accepted(edge: Edge) -> None:
    """503 with when to try again; nothing is stored."""
    edge.queue.fail = True
    worker = worker_of(edge, "queue")
    response = edge.run(worker.track(edge.context(), touch_event(0)))
    assert response.status == 503
    assert dict(response.headers)["retry-after"] == "1"
    assert edge.rows("SELECT * FROM user_journeys") == []


@pytest.mark.parametrize("broken", ["d1", "kv"])
def test_a_delivery_that_fails_is_made_good_by_the_next(edge: Edge, broken: str) -> None:
    """Not stored, or stored and not followed up: the messages come back, and then all is there."""

    async def work() -> list[set[str]]:
        worker = worker_of(edge, "queue")
        await worker.track(edge.context(), [touch_event(0), touch_event(1, "c2")])
        if broken == "d1":
            edge.d1.fail = D1Error("D1_ERROR: down")
        else:
            edge.kv.fail_writes = KVError("down", 500)
        first = await worker.consume(edge.context(), sent(edge))
        edge.d1.fail = edge.kv.fail_writes = None
        await edge.sleep_s(5)
        return [first, await worker.consume(edge.context(), sent(edge))]

    assert edge.run(work()) == [{"m0", "m1"}, set()]
    assert attributed(edge) == {"c1": 1, "c2": 1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event": None},
        {"event": {}, "created_at": "x"},
        {"event_id": 1},
        {"event": touch_event(0)},
    ],
)
def test_what_cannot_be_understood_fails_alone(edge: Edge, body: dict[str, Any]) -> None:
    """It comes back until it is a dead letter; the messages beside it are handled."""

    async def work() -> set[str]:
        worker = worker_of(edge, "queue")
        await worker.track(edge.context(), touch_event(7))
        return await worker.consume(edge.context(), [Message("odd", body, 0), *sent(edge)])

    assert edge.run(work()) == {"odd"}
    assert attributed(edge) == {"c1": 1}


# --------------------------------------------------------------------------- either way


deliveries = st.lists(st.integers(0, 9), min_size=1, max_size=30)


@given(st.sampled_from(["d1", "queue"]), deliveries, st.permutations(range(10)))
@settings(max_examples=40, deadline=None)
def test_d13_any_delivery_counts_each_event_once(
    accept: Accept, again: Iterable[int], order: Iterable[int]
) -> None:
    """Messages in any order, any of them several times, posts repeated: one row and one credit for
    each event."""
    edge = Edge()
    worker = worker_of(edge, accept)

    async def work() -> None:
        for number in range(10):
            await worker.track(edge.context(), touch_event(number, f"c{number % 3}"))
        await worker.track(edge.context(), touch_event(0, "c0"))
        messages = sent(edge)
        for number in [*order, *again]:
            await worker.consume(edge.context(), [messages[number]])

    edge.run(work())
    assert edge.rows("SELECT count(*), count(DISTINCT event_id) FROM user_journeys") == [(10, 10)]
    assert attributed(edge) == {"c0": 4, "c1": 3, "c2": 3}
    assert waiting(edge) == []


def test_messages_of_either_way_can_be_under_way_together(edge: Edge) -> None:
    """The setting was changed while messages waited: both kinds are handled by one consumer."""

    async def work() -> set[str]:
        for accept in ("d1", "queue"):
            number = int(accept == "queue")
            await worker_of(edge, accept).track(edge.context(), touch_event(number))
        await edge.sleep_s(1)
        return await worker_of(edge, "d1").consume(edge.context(), sent(edge))

    assert edge.run(work()) == set()
    assert attributed(edge) == {"c1": 2}
