"""The queue in virtual time: when batches leave, what comes again, what is given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.adapters import batch_queue
from reference_impl.adapters.batch_queue import BatchQueue
from reference_impl.ports import Message, QueueError
from sim.bridge import SimRuntime

TIMEOUT_US = 5_000


class Consumer:
    """Takes ``work_us`` for a batch and fails the messages that ``fails`` picks."""

    def __init__(self, runtime: SimRuntime) -> None:
        self._runtime = runtime
        self.work_us = 0
        self.fails: Callable[[Message], bool] = lambda _message: False
        self.batches: list[tuple[int, list[Any]]] = []
        self.delivered: list[Message] = []
        self.busy = self.most_busy = 0

    async def deliver(self, messages: Sequence[Message]) -> set[str]:
        self.batches.append((self._runtime.now_us(), [message.body["n"] for message in messages]))
        self.delivered += messages
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        await self._runtime.sleep(self.work_us)
        self.busy -= 1
        return {message.id for message in messages if self.fails(message)}


@pytest.fixture
def runtime() -> SimRuntime:
    return SimRuntime()


@pytest.fixture
def consumer(runtime: SimRuntime) -> Consumer:
    return Consumer(runtime)


def queue_of(runtime: SimRuntime, consumer: Consumer, **options: int) -> BatchQueue:
    settings: dict[str, Any] = {"batch_size": 3, "batch_timeout_us": TIMEOUT_US, **options}
    return BatchQueue(runtime, consumer.deliver, **settings)


def send(runtime: SimRuntime, queue: BatchQueue, at_us: Sequence[int]) -> None:
    """Send message n at the n-th time, and run until nothing is left to do."""

    async def one(number: int, at_us: int) -> None:
        await runtime.sleep_until(at_us)
        await queue.send({"n": number})

    for number, time_us in enumerate(at_us):
        runtime.spawn(one(number, time_us))
    runtime.run()
    assert runtime.shutdown() == 0


def test_a_full_batch_leaves_at_once(runtime: SimRuntime, consumer: Consumer) -> None:
    """Three messages are a batch; its time-out sends nothing later."""
    send(runtime, queue_of(runtime, consumer), [0, 10, 20])
    assert consumer.batches == [(20, [0, 1, 2])]


def test_a_batch_that_does_not_fill_leaves_by_its_time_out(
    runtime: SimRuntime, consumer: Consumer
) -> None:
    """Counted from its oldest message, also for the batch that follows a full one."""
    send(runtime, queue_of(runtime, consumer), [100, 200, 300, 400, 500])
    assert consumer.batches == [(300, [0, 1, 2]), (400 + TIMEOUT_US, [3, 4])]


def test_a_time_out_belongs_to_its_batch(runtime: SimRuntime, consumer: Consumer) -> None:
    """The timer of a batch that left full does not cut the next one's waiting short."""
    send(runtime, queue_of(runtime, consumer), [0, 1, 2, 3, TIMEOUT_US + 1])
    assert consumer.batches == [(2, [0, 1, 2]), (3 + TIMEOUT_US, [3, 4])]


def test_batches_of_one(runtime: SimRuntime, consumer: Consumer) -> None:
    """With a size of one nothing waits."""
    send(runtime, queue_of(runtime, consumer, batch_size=1), [0, 7])
    assert consumer.batches == [(0, [0]), (7, [1])]


@given(st.lists(st.integers(0, 30_000), max_size=60), st.integers(1, 7))
def test_every_message_is_delivered_once_and_in_time(times_us: list[int], size: int) -> None:
    """None is lost or repeated, none waits beyond the time-out, no batch is over its size."""
    runtime = SimRuntime()
    consumer = Consumer(runtime)
    queue = queue_of(runtime, consumer, batch_size=size)
    send(runtime, queue, times_us)
    delivered = [n for _, numbers in consumer.batches for n in numbers]
    assert sorted(delivered) == list(range(len(times_us)))
    assert all(1 <= len(numbers) <= size for _, numbers in consumer.batches)
    for at_us, numbers in consumer.batches:
        assert all(0 <= at_us - times_us[n] <= TIMEOUT_US for n in numbers)
        assert len(numbers) == size or at_us - min(times_us[n] for n in numbers) == TIMEOUT_US
    assert queue.undelivered == 0


def test_d13_only_what_failed_comes_again(runtime: SimRuntime, consumer: Consumer) -> None:
    """With its first acceptance time and its number of attempts; the others were acknowledged."""
    consumer.fails = lambda message: message.body["n"] == 1 and message.attempts < 3
    queue = queue_of(runtime, consumer)
    send(runtime, queue, [0, 10, 20])
    assert consumer.batches == [(20, [0, 1, 2]), (20 + TIMEOUT_US, [1]), (20 + 2 * TIMEOUT_US, [1])]
    again = [message for message in consumer.delivered if message.body["n"] == 1]
    assert [message.attempts for message in again] == [1, 2, 3]
    assert {(message.id, message.accepted_us) for message in again} == {(again[0].id, 10)}
    assert (queue.undelivered, queue.dead_count) == (0, 0)


@pytest.mark.parametrize("retries", [0, 3])
def test_d13_after_its_retries_a_message_is_dead(
    runtime: SimRuntime, consumer: Consumer, retries: int
) -> None:
    """Delivered once and ``max_retries`` times more, then kept aside; the rest is not held up."""
    consumer.fails = lambda message: message.body["n"] == 0
    queue = queue_of(runtime, consumer, max_retries=retries)
    send(runtime, queue, [0, 1, 2])
    deliveries = Counter(message.body["n"] for message in consumer.delivered)
    assert deliveries == {0: retries + 1, 1: 1, 2: 1}
    assert [message.body["n"] for message in queue.dead] == [0]
    assert (queue.undelivered, queue.dead_count) == (0, 1)


def test_at_most_so_many_batches_at_once(runtime: SimRuntime, consumer: Consumer) -> None:
    """Two consumers share six batches of 1 ms: three rounds, in the order the batches left."""
    consumer.work_us = 1_000
    send(runtime, queue_of(runtime, consumer, max_concurrency=2), [0] * 18)
    assert consumer.most_busy == 2
    assert [at_us for at_us, _ in consumer.batches] == [0, 0, 1_000, 1_000, 2_000, 2_000]
    assert [numbers[0] for _, numbers in consumer.batches] == [0, 3, 6, 9, 12, 15]


def test_undelivered_counts_what_is_not_done(runtime: SimRuntime, consumer: Consumer) -> None:
    """Waiting and being handled, both; nothing once handled."""
    consumer.work_us = 1_000
    queue = queue_of(runtime, consumer)
    counts = []

    async def watch() -> None:
        for n in range(4):
            await queue.send({"n": n})
        for at_us in (0, 500, 1_500, TIMEOUT_US + 500, TIMEOUT_US + 1_500):
            await runtime.sleep_until(at_us)
            counts.append(queue.undelivered)

    runtime.spawn(watch())
    runtime.run()
    assert counts == [4, 4, 1, 1, 0]


def test_a_consumer_that_raises_loses_nothing(consumer: Consumer) -> None:
    """The error is told to the runtime, the batch comes again, and the count stays true."""
    errors: list[Exception] = []
    runtime = SimRuntime(on_error=errors.append)

    async def deliver(messages: Sequence[Message]) -> set[str]:
        consumer.delivered += messages
        if messages[0].attempts == 1:
            raise RuntimeError("a bug")
        return set()

    queue = BatchQueue(runtime, deliver, batch_size=2, batch_timeout_us=TIMEOUT_US)
    send(runtime, queue, [0, 0])
    assert [message.attempts for message in consumer.delivered] == [1, 1, 2, 2]
    assert [str(error) for error in errors] == ["a bug"]
    assert queue.undelivered == 0


def test_a_full_queue_refuses(
    runtime: SimRuntime, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages beyond the backlog are refused, and taken again when it has shrunk."""
    monkeypatch.setattr(batch_queue, "MAX_BACKLOG", 2)
    queue = queue_of(runtime, consumer)

    async def work() -> None:
        await queue.send({"n": 0})
        await queue.send({"n": 1})
        with pytest.raises(QueueError, match="Storage Limit Exceeded"):
            await queue.send({"n": 2})
        await runtime.sleep(TIMEOUT_US + 1)
        await queue.send({"n": 3})

    runtime.spawn(work())
    runtime.run()
    assert [numbers for _, numbers in consumer.batches] == [[0, 1], [3]]


def test_ids_are_told_apart(runtime: SimRuntime, consumer: Consumer) -> None:
    """Each message sent has an ID of its own."""
    send(runtime, queue_of(runtime, consumer), [0] * 10)
    assert len({message.id for message in consumer.delivered}) == 10


def test_several_are_taken_or_none(
    runtime: SimRuntime, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of sends is one call of 100 messages at most; without room for all none is taken."""
    monkeypatch.setattr(batch_queue, "MAX_BACKLOG", 101)
    queue = queue_of(runtime, consumer, batch_size=100)

    async def work() -> None:
        with pytest.raises(QueueError, match="101 messages"):
            await queue.send_batch([{"n": 0}] * 101)
        await queue.send({"n": 0})
        await queue.send_batch([{"n": n} for n in range(1, 51)])
        with pytest.raises(QueueError, match="Storage Limit Exceeded"):
            await queue.send_batch([{"n": 0}] * 51)

    runtime.spawn(work())
    runtime.run()
    assert consumer.batches == [(TIMEOUT_US, list(range(51)))]
