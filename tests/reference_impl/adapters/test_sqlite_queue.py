"""The queue on SQLite: kept until handled, tried again with longer waits, given up and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reference_impl.adapters import open_queue
from reference_impl.adapters.asyncio_runtime import AsyncioRuntime
from reference_impl.adapters.d1_binding import D1Binding, DirectExecutor
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.adapters.sqlite_queue import SqliteQueue
from reference_impl.d1.statements import MAX_BOUND_VALUES
from reference_impl.events import MAX_EVENTS, MAX_NAME
from reference_impl.ports import D1Error, D1Result, Message, QueueError
from tests.contracts.virtual_loop import VirtualLoop

T = TypeVar("T")
SECOND_US = 1_000_000
QUICK = {"batch_size": 2, "batch_timeout_us": 10_000, "max_retries": 2}


class Consumer:
    """Notes what it is given and when, since the first, and fails what ``fails`` picks."""

    def __init__(self, fails: Callable[[Message], bool] = lambda _message: False) -> None:
        self._fails = fails
        self._started_s: float | None = None
        self.got: list[tuple[int, int, int]] = []

    async def __call__(self, messages: Sequence[Message]) -> set[str]:
        now = asyncio.get_running_loop().time()
        self._started_s = now if self._started_s is None else self._started_s
        now_s = round(now - self._started_s)
        self.got += [(now_s, message.body["n"], message.attempts) for message in messages]
        return {message.id for message in messages if self._fails(message)}


def in_memory(work: Callable[[SqliteQueue], Awaitable[T]]) -> T:
    """The result of ``work`` with a queue in memory, in virtual time."""

    async def main() -> T:
        queue = await open_queue()
        try:
            return await work(queue)
        finally:
            await queue.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def test_a_failed_message_waits_longer_each_time() -> None:
    """One second, then two, then it is dead; the others of its batch are done with."""
    consumer = Consumer(lambda message: message.body["n"] == 1)

    async def work(queue: SqliteQueue) -> list[Any]:
        await queue.consume(consumer, **QUICK, retry_delay_us=SECOND_US)
        await queue.send_batch([{"n": 0}, {"n": 1}])
        await asyncio.sleep(2)
        assert (queue.undelivered, queue.dead_count) == (1, 0)
        await asyncio.sleep(10)
        assert (queue.undelivered, queue.dead_count) == (0, 1)
        return await queue.dead_letters()

    (letter,) = in_memory(work)
    assert consumer.got == [(0, 0, 1), (0, 1, 1), (1, 1, 2), (3, 1, 3)]
    assert (letter.body, letter.attempts) == ({"n": 1}, 3)
    assert letter.accepted_us <= letter.died_us


class CountedExecutor(DirectExecutor):
    """Counts what it runs, and fails it while ``broken``."""

    def __init__(self) -> None:
        super().__init__(SqliteEngine())
        self.commits = 0
        self.broken = False

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        self.commits += 1
        if self.broken:
            raise D1Error("D1_ERROR: broken")
        return await super().execute(commands)


def test_sends_of_one_moment_share_a_commit() -> None:
    """More of them than one statement takes; each message keeps its own row and its place."""
    count = 3 * MAX_BOUND_VALUES
    consumer = Consumer()

    async def work() -> tuple[int, list[int]]:
        executor = CountedExecutor()
        runtime = AsyncioRuntime()
        queue = SqliteQueue(D1Binding(executor), runtime, executor.close)
        await queue.open()
        before = executor.commits
        await asyncio.gather(*(queue.send({"n": n}) for n in range(count)))
        sent = executor.commits - before
        await queue.consume(consumer, batch_size=count)
        await asyncio.sleep(1)
        left = await executor.execute([Command("SELECT count(*) AS n FROM queue_messages", ())])
        await queue.close()
        return sent, [row["n"] for row in left[0].results]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(work()) == (1, [0])
    assert [n for _, n, _ in consumer.got] == list(range(count))


def test_a_commit_that_fails_fails_every_send_in_it() -> None:
    """Each sender is told, nothing is delivered, and the next send goes through."""
    consumer = Consumer()

    async def work() -> list[BaseException | None]:
        executor = CountedExecutor()
        queue = SqliteQueue(D1Binding(executor), AsyncioRuntime(), executor.close)
        await queue.open()
        await queue.consume(consumer, batch_size=1)
        executor.broken = True
        told = await asyncio.gather(
            *(queue.send({"n": n}) for n in range(3)), return_exceptions=True
        )
        executor.broken = False
        await queue.send({"n": 3})
        await asyncio.sleep(1)
        await queue.close()
        return told

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        told = runner.run(work())
    assert [type(error) for error in told] == [QueueError] * 3
    assert [n for _, n, _ in consumer.got] == [3]


def test_a_batch_whose_handling_breaks_comes_again() -> None:
    """All of it, and the error is told on."""
    told: list[Exception] = []
    broken = [True]

    async def deliver(messages: Sequence[Message]) -> set[str]:
        if broken.pop() if broken else False:
            raise RuntimeError("broken")
        got.extend(message.body["n"] for message in messages)
        return set()

    async def main() -> None:
        queue = await open_queue(runtime=AsyncioRuntime(on_error=told.append))
        await queue.consume(deliver, **QUICK)
        await queue.send_batch([{"n": 0}, {"n": 1}])
        await asyncio.sleep(1)
        await queue.close()

    got: list[int] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    assert (sorted(got), [str(error) for error in told]) == ([0, 1], ["broken"])


def test_dead_letters_are_listed_and_replayed() -> None:
    """In pages, oldest first; replayed they start anew, and what is not dead is not replayed."""
    consumer = Consumer(lambda message: message.body["n"] < 3 and not healed)
    healed: list[bool] = []

    async def work(queue: SqliteQueue) -> None:
        await queue.consume(consumer, **QUICK)
        await queue.send_batch([{"n": n} for n in range(4)])
        await asyncio.sleep(1)
        first, second = await queue.dead_letters(limit=2)
        (third,) = await queue.dead_letters(after=second.id)
        assert [letter.body["n"] for letter in (first, second, third)] == [0, 1, 2]
        healed.append(True)
        consumer.got.clear()
        assert await queue.replay([first.id, third.id, "12345"]) == 2
        assert await queue.replay([first.id]) == await queue.replay([]) == 0
        await asyncio.sleep(1)
        assert [n for _, n, attempt in consumer.got if attempt == 1] == [0, 2]
        assert [letter.id for letter in await queue.dead_letters()] == [second.id]
        assert queue.dead_count == 1

    in_memory(work)


def test_a_queue_takes_up_what_it_left(tmp_path: Path) -> None:
    """Messages that no consumer has acknowledged come again from the file, with their attempts,
    and so do the dead."""
    url = f"sqlite:{tmp_path / 'queue.db'}"
    never = asyncio.Event

    async def first_life() -> None:
        queue = await open_queue(url)
        await queue.send({"n": 0})
        await queue.consume(Consumer(lambda message: message.body["n"] == 0), **QUICK)
        await asyncio.sleep(0.3)
        hanging = await open_queue(url)

        async def hang(_messages: Sequence[Message]) -> set[str]:
            await never().wait()
            raise AssertionError

        await hanging.consume(hang, **QUICK)
        await hanging.send_batch([{"n": n} for n in range(1, 6)])
        await asyncio.sleep(0.1)
        for each in (queue, hanging):
            await each.close()

    async def second_life() -> Consumer:
        consumer = Consumer()
        queue = await open_queue(url)
        assert queue.dead_count == 1
        await queue.consume(consumer, **QUICK)
        await asyncio.sleep(0.3)
        assert (queue.undelivered, queue.dead_count) == (0, 1)
        await queue.close()
        return consumer

    asyncio.run(first_life())
    consumer = asyncio.run(second_life())
    assert sorted((n, attempts) for _, n, attempts in consumer.got) == [(n, 1) for n in range(1, 6)]
    assert asyncio.run(second_life()).got == []


@pytest.mark.parametrize(
    ("bodies", "reason"),
    [
        ([{"n": "x" * 130_000}], "128000 bytes"),
        ([{"n": "x" * 90_000}] * 3, "256000 bytes"),
        ([{"n": "\U0001f600" * 32_000}], "128000 bytes, not 128008"),
        ([{"n": "\ud800"}], "must be JSON"),
        ([{"n": n} for n in range(101)], "101 messages"),
        ([{"n": {1, 2}}], "must be JSON"),
        ([{"n": float("nan")}], "must be JSON"),
    ],
)
def test_what_the_platform_refuses(bodies: list[dict[str, Any]], reason: str) -> None:
    """Messages too large, too many, or that are no JSON; none of them is taken."""

    async def work(queue: SqliteQueue) -> int:
        await queue.consume(Consumer(), **QUICK)
        with pytest.raises(QueueError, match=reason):
            await queue.send_batch(bodies)
        return queue.undelivered

    assert in_memory(work) == 0


def test_a_hundred_messages_of_the_longest_ids_are_one_call(tmp_path: Path) -> None:
    """Bytes are counted in UTF-8, as on the platform; what is taken is the same after a restart."""
    longest = "\U0001f600" * MAX_NAME
    bodies = [{"event_id": longest, "conversion_id": longest, "n": n} for n in range(MAX_EVENTS)]

    async def fill() -> None:
        queue = await open_queue(f"sqlite:{tmp_path / 'queue'}")
        await queue.send_batch(bodies)
        await queue.close()

    async def drain() -> list[Any]:
        queue = await open_queue(f"sqlite:{tmp_path / 'queue'}")
        got: list[Any] = []
        taken = asyncio.Event()

        async def consumer(messages: Sequence[Message]) -> set[str]:
            got.extend(message.body for message in messages)
            taken.set()
            return set()

        await queue.consume(consumer, batch_size=MAX_EVENTS, batch_timeout_us=10_000)
        await taken.wait()
        await queue.close()
        return got

    asyncio.run(fill())
    assert asyncio.run(drain()) == bodies
