"""The request handlers of one isolate: answers, refusals, and what goes on behind them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reference_impl.attribution.models import MAX_TOUCHES, MODELS
from reference_impl.config import StackConfig
from reference_impl.isolate.attributor import LEARNS
from reference_impl.isolate.worker import MAX_INVALIDATION_KEYS, Worker
from reference_impl.keys import cache_key
from reference_impl.messages import Layer, Lookup, Response
from reference_impl.ports import D1Error, KVError, Message
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import flood

EVENT: dict[str, Any] = {
    "user_id": "u1",
    "event_id": "e1",
    "event_name": "touch",
    "utm_source": "google",
    "event_timestamp": "2026-01-31T12:00:00.000Z",
    "conversion_id": "c1",
}


@pytest.fixture
def worker(edge: Edge) -> Worker:
    return Worker(edge.runtime, StackConfig())


def track(edge: Edge, worker: Worker, **fields: Any) -> Response:
    return edge.run(worker.track(edge.context(), {**EVENT, **fields}))


def attribution(
    edge: Edge, worker: Worker, conversion_id: str = "c1", model: str = "linear"
) -> Response:
    return edge.run(worker.attribution(edge.context(), conversion_id, model))


# --------------------------------------------------------------------------- attribution


@pytest.mark.parametrize("model", MODELS)
def test_a01_a07_a_conversion_is_attributed(edge: Edge, worker: Worker, model: str) -> None:
    """One form, cached or not: the touches oldest first with credits that sum to 100."""
    for i in range(3):
        track(edge, worker, event_id=f"e{i}", utm_source=f"s{i}", event_timestamp=i)
    first, second = (attribution(edge, worker, model=model) for _ in range(2))
    assert first == second
    assert (first.status, first.route) == (200, "attribution")
    answer = json.loads(first.body)
    assert (answer["conversion_id"], answer["model"]) == ("c1", model)
    assert [row["utm_source"] for row in answer["attribution"]] == ["s0", "s1", "s2"]
    assert sum(row["credit_percentage"] for row in answer["attribution"]) == pytest.approx(100)


@pytest.mark.parametrize("model", ["linear", LEARNS])
def test_a_flooded_conversion_has_one_bounded_answer_everywhere(
    edge: Edge, worker: Worker, model: str
) -> None:
    """The latest touches and the word that there are others: asked for alone and together,
    computed and cached, and after a refresh."""
    asked = {"conversion_ids": ["c1"], "model": model}

    async def answers(worker: Worker) -> list[dict[str, Any]]:
        alone = json.loads((await worker.attribution(edge.context(), "c1", model)).body)
        batch = json.loads((await worker.attribution_batch(edge.context(), asked)).body)
        (together,) = batch["results"]
        return [{name: each[name] for name in ("attribution", "truncated")}
                for each in (alone, together)]  # fmt: skip

    async def work() -> list[list[dict[str, Any]]]:
        flood(edge, "c1", MAX_TOUCHES + 1)
        found = [await answers(worker)]
        fresh = Worker(edge.runtime, StackConfig(attribution_models=(model,)))
        await edge.sleep_s(1)
        message = Message("m1", {"event_id": "c1-0", "conversion_id": "c1"}, 0)
        assert await fresh.consume(edge.context(), [message]) == set()
        return [*found, await answers(fresh)]

    (alone, together), *others = edge.run(work())
    assert alone == together
    assert others == [[alone, alone]]
    assert alone["truncated"] is True
    sources = [touch["utm_source"] for touch in alone["attribution"]]
    assert sources == [f"s{1 + at}" for at in range(MAX_TOUCHES)]
    assert sum(touch["credit_percentage"] for touch in alone["attribution"]) == pytest.approx(100)
    stored = "SELECT count(*), round(sum(credit_percentage), 2) FROM multi_touch_attribution"
    assert edge.rows(stored) == [(MAX_TOUCHES, 100.0)]


@pytest.mark.parametrize("model", ["", "LINEAR", "__proto__", "valueOf", "constructor", "time"])
def test_a08_a09_an_unknown_model_is_refused(edge: Edge, worker: Worker, model: str) -> None:
    """400 with the names there are; no look-up, no statement, nothing cached."""
    ctx = edge.context()
    response = edge.run(worker.attribution(ctx, "c1", model))
    assert response.status == 400
    assert all(name in json.loads(response.body)["detail"] for name in (repr(model), *MODELS))
    assert (ctx.evidence.lookups, edge.kv.reads, edge.d1.calls) == ([], 0, [])


@pytest.mark.parametrize("conversion_id", ["", "x" * 129])
def test_d09_an_id_that_no_event_can_have_is_refused(
    edge: Edge, worker: Worker, conversion_id: str
) -> None:
    """It would cost a read and a cached "not there" for an answer that is known."""
    assert attribution(edge, worker, conversion_id).status == 400
    assert edge.d1.calls == []


def test_a02_a_conversion_without_a_journey_is_404(edge: Edge, worker: Worker) -> None:
    """And the next one who asks is answered from the cache."""
    ctx = edge.context()
    responses = [edge.run(worker.attribution(ctx, "nobody", "linear")) for _ in range(2)]
    assert [response.status for response in responses] == [404, 404]
    assert ctx.evidence.lookups == [
        Lookup("attribution", Layer.MISS, True),
        Lookup("attribution", Layer.L1, True),
    ]


def test_a10_ids_that_look_alike_are_told_apart(edge: Edge, worker: Worker) -> None:
    """A colon in an ID does not lead to another question's entry."""
    track(edge, worker, conversion_id="c1:linear")
    assert attribution(edge, worker, "c1:linear", "last_click").status == 200
    assert attribution(edge, worker, "c1", "linear").status == 404


def test_d15_a_database_that_fails_is_503(edge: Edge, worker: Worker) -> None:
    """The error is passed on and not cached: the next look-up is answered."""
    track(edge, worker)
    edge.d1.fail = D1Error("D1_ERROR: D1 DB is overloaded.")
    failed = attribution(edge, worker)
    assert (failed.status, "overloaded" in failed.body) == (503, True)
    edge.d1.fail = None
    assert attribution(edge, worker).status == 200


# --------------------------------------------------------------------------- tracking


def test_an_event_is_accepted_once_committed(edge: Edge, worker: Worker) -> None:
    """202 when the row is in D1; one message follows, which the answer does not wait for."""
    response = track(edge, worker)
    assert (response.status, response.route) == (202, "tracking")
    assert json.loads(response.body) == {"accepted": True, "event_id": "e1", "duplicate": False}
    assert edge.rows("SELECT event_id FROM user_journeys") == [("e1",)]
    assert edge.queue.sent == [{"event_id": "e1", "conversion_id": "c1"}]


def test_d20_the_database_has_one_time_format(edge: Edge, worker: Worker) -> None:
    """``created_at`` has the format of ``event_timestamp``, from the runtime's clock."""
    track(edge, worker)
    assert edge.rows("SELECT created_at FROM user_journeys") == [("2026-01-01T00:00:00.000Z",)]


def test_d13_a_repeated_post_changes_nothing(edge: Edge, worker: Worker) -> None:
    """The same answer but for ``duplicate``; one row, one message."""
    track(edge, worker)
    again = track(edge, worker, utm_source="other")
    assert (again.status, json.loads(again.body)["duplicate"]) == (202, True)
    assert edge.rows("SELECT utm_source FROM user_journeys") == [("google",)]
    assert len(edge.queue.sent) == 1


@pytest.mark.parametrize("body", [None, [], "x", 1, {}, {**EVENT, "__proto__": 1}])
def test_d09_an_odd_event_is_400(edge: Edge, worker: Worker, body: Any) -> None:
    """Refused before anything is asked of the database."""
    response = edge.run(worker.track(edge.context(), body))
    assert response.status == 400
    assert dict(response.headers) == {"content-type": "application/problem+json"}
    assert edge.d1.calls == []


def test_an_event_that_is_not_stored_is_not_accepted(edge: Edge, worker: Worker) -> None:
    """503 when D1 fails, and nothing is queued."""
    edge.d1.fail = D1Error("D1_ERROR: D1 DB is overloaded.")
    assert track(edge, worker).status == 503
    assert edge.queue.sent == []


def test_a_full_queue_is_counted(edge: Edge, worker: Worker) -> None:
    """The event is stored, so it is accepted; that nothing follows shows in a count."""
    edge.queue.fail = True
    assert track(edge, worker).status == 202
    assert worker.ingest.sends_failed == 1


# --------------------------------------------------------------------------- invalidation


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "k",
        {},
        {"keys": []},
        {"keys": "k"},
        {"keys": [""]},
        {"keys": [1]},
        {"keys": [None]},
        {"keys": ["\ud800"]},
        {"keys": ["x" * 513]},
        {"keys": ["é" * 257]},
        {"keys": ["k"] * (MAX_INVALIDATION_KEYS + 1)},
        {"keys": {"k": 1}},
        {"prefix": ""},
        {"prefix": 1},
        {"prefix": ["a"]},
        {"prefix": "\ud800"},
        {"prefix": "x" * 513},
        {"prefix": "a", "keys": ["k"]},
        {"keys": ["k"], "prefix": ""},
        {"pattern": "*"},
        {"prefix": "a", "pattern": "*"},
    ],
)
def test_c20_c28_c29_odd_invalidations_are_400(edge: Edge, worker: Worker, body: Any) -> None:
    """Anything but a prefix or a list of keys that KV could hold; nothing is deleted."""
    response = edge.run(worker.invalidate(edge.context(), body))
    assert (response.status, response.route) == (400, "cache-invalidate")
    assert edge.runtime.now_us() == 0


@pytest.mark.parametrize("by", ["keys", "prefix"])
def test_c02_after_an_invalidation_the_journey_is_read_again(
    edge: Edge, worker: Worker, by: str
) -> None:
    """Rows added behind the stack's back appear after the key or its prefix was invalidated."""
    track(edge, worker)
    attribution(edge, worker)
    edge.rows("UPDATE user_journeys SET utm_source = 'changed'")
    key = cache_key("attribution", "c1", "linear")
    body = {"keys": [key]} if by == "keys" else {"prefix": "attribution:c1:"}
    edge.run(edge.sleep_s(2))
    response = edge.run(worker.invalidate(edge.context(), body))
    assert (response.status, json.loads(response.body)["success"]) == (200, True)
    assert "changed" in attribution(edge, worker).body


def test_c20_an_invalidation_that_failed_says_so(edge: Edge, worker: Worker) -> None:
    """502 with the counts when KV refused a deletion, 503 when it could not be listed."""
    edge.kv.fail_writes = edge.kv.fail_reads = KVError("KV failed", 500)
    failed = edge.run(worker.invalidate(edge.context(), {"keys": ["k"]}))
    assert failed.status == 502
    assert json.loads(failed.body)["data"]["kv_failed"] == 1
    assert edge.run(worker.invalidate(edge.context(), {"prefix": "k"})).status == 503
