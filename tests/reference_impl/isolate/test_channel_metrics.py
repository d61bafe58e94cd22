"""The cached sums of the channels: one entry a model, let go when credits have changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reference_impl.config import StackConfig
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Layer, Response
from tests.reference_impl.fakes import SECOND_US, Edge
from tests.reference_impl.touches import touch_message


@pytest.fixture
def worker(edge: Edge) -> Worker:
    return Worker(edge.runtime, StackConfig())


async def channels(
    edge: Edge, worker: Worker, model: str = "linear", limit: int = 50
) -> tuple[list[Any], Layer]:
    """The answer's channels, and the layer that had them."""
    ctx = edge.context()
    response: Response = await worker.channels(ctx, model, limit)
    assert response.status == 200
    return json.loads(response.body)["channels"], ctx.evidence.lookups[0].layer


def test_limits_share_one_entry(edge: Edge, worker: Worker) -> None:
    """The first of however many; no second read of the sums."""

    async def work() -> list[tuple[list[str], Layer]]:
        for number in range(3):
            message = await touch_message(edge, worker, number, f"c{number}")
            await worker.consume(edge.context(), [message])
        await edge.sleep_s(100)
        answers = [await channels(edge, worker, limit=limit) for limit in (2, 1000, 1)]
        return [([row["utm_source"] for row in rows], layer) for rows, layer in answers]

    assert edge.run(work()) == [
        (["s0", "s1"], Layer.MISS),
        (["s0", "s1", "s2"], Layer.L1),
        (["s0"], Layer.L1),
    ]


@pytest.mark.parametrize(("model", "limit"), [("nope", 1), ("linear", 0), ("linear", 1001)])
def test_a08_odd_questions_are_400(edge: Edge, worker: Worker, model: str, limit: int) -> None:
    """An unknown model or an impossible number costs no look-up."""
    ctx = edge.context()
    assert edge.run(worker.channels(ctx, model, limit)).status == 400
    assert ctx.evidence.lookups == []


def test_c31_a_conversion_shows_in_the_sums(edge: Edge, worker: Worker) -> None:
    """An answer from before the touch gives way once the touch was handled; an empty one too."""

    async def work() -> list[list[Any]]:
        before, _ = await channels(edge, worker)
        await edge.sleep_s(2)
        await worker.consume(edge.context(), [await touch_message(edge, worker, 0)])
        await edge.sleep_s(1)
        after, _ = await channels(edge, worker)
        return [before, after]

    before, after = edge.run(work())
    assert before == []
    assert [(row["utm_source"], row["total_attribution"]) for row in after] == [("s0", 100)]


def test_changes_within_half_a_minute_share_a_deletion(edge: Edge, worker: Worker) -> None:
    """Ten touches in as many seconds: deleted at once and at the end of the half minute, and what
    is asked after that has all of them."""
    deleted: list[tuple[int, str]] = []
    delete = edge.kv.delete

    async def noting(key: str) -> None:
        if key.startswith("channelMetrics:performance:linear"):
            deleted.append((edge.runtime.now_us() // SECOND_US, key))
        await delete(key)

    edge.kv.delete = noting  # type: ignore[method-assign]

    async def work() -> list[Any]:
        for number in range(10):
            message = await touch_message(edge, worker, number, f"c{number}")
            await worker.consume(edge.context(), [message])
            await channels(edge, worker)
            await edge.sleep_s(1)
        await edge.sleep_s(40)
        return (await channels(edge, worker))[0]

    assert len(edge.run(work())) == 10
    assert [at_s for at_s, _ in deleted] == [0, 30]
