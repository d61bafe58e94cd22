"""What the SimPy bridge promises beyond the contract: events, messages, errors, the horizon."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

import pytest
from simpy import Environment, Event
from simpy.events import NORMAL, EventPriority

from sim.bridge import START_WALL_US, Cancelled, SimRuntime


class CountingEnvironment(Environment):
    """Counts the events that are put on the calendar."""

    scheduled = 0

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        self.scheduled += 1
        super().schedule(event, priority, delay)


class OddError(Exception):
    """SimPy could not rebuild it from its ``args``."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


def events_of(work: Coroutine[Any, Any, Any], runtime: SimRuntime) -> int:
    """How many events ``work`` costs, the one that starts it left out."""
    runtime.spawn(work)
    runtime.run()
    assert isinstance(runtime.env, CountingEnvironment)
    return runtime.env.scheduled - 1


@pytest.fixture
def runtime() -> SimRuntime:
    return SimRuntime(CountingEnvironment())


# --------------------------------------------------------------------------- events


def test_a_sleep_is_one_event(runtime: SimRuntime) -> None:
    """Events decide the speed of a simulation: a sleep is one, and its job's end none."""

    async def work() -> None:
        for _ in range(10):
            await runtime.sleep(3)

    assert events_of(work(), runtime) == 10
    assert runtime.now_us() == 30


def test_no_event_where_no_time_passes(runtime: SimRuntime) -> None:
    """A set latch, a past time, a free limiter and a finished job are had at once."""

    async def nothing() -> int:
        return 1

    async def work() -> None:
        latch = runtime.latch()
        latch.set(1)
        job = runtime.spawn(nothing())  # the one event: its start
        await runtime.sleep_until(0)
        assert await latch.wait() == 1
        async with runtime.limiter(1):
            pass
        assert await runtime.gather([]) == []
        assert not job.done

    assert events_of(work(), runtime) == 1


def test_all_waiters_share_one_event(runtime: SimRuntime) -> None:
    """Setting a latch, or ending a job, costs one event however many wait."""

    async def wait(latch: Any) -> None:
        await latch.wait()

    async def work() -> None:
        latch = runtime.latch()
        jobs = [runtime.spawn(wait(latch)) for _ in range(50)]  # 50 events
        await runtime.sleep(1)  # 1
        latch.set()  # 1
        await jobs[-1]  # 1

    assert events_of(work(), runtime) == 53


def test_a_deadline_is_one_event(runtime: SimRuntime) -> None:
    """The work runs in the caller's own job: no job of its own to start or to await."""

    async def inner() -> None:
        await runtime.sleep(1)

    assert events_of(runtime.deadline(inner(), 5), runtime) == 2


# --------------------------------------------------------------------------- time


def test_times_stay_whole(runtime: SimRuntime) -> None:
    """The clock is an int all the way; NumPy's numbers and fractions are refused everywhere."""
    np = pytest.importorskip("numpy")

    async def instant() -> None:
        return

    async def work() -> None:
        await runtime.sleep(7)
        wrongs: list[Any] = [np.int64(5), 5.0, True]
        for wrong in wrongs:
            with pytest.raises(TypeError, match="whole number of microseconds"):
                await runtime.sleep(wrong)
            unused = instant()
            with pytest.raises(TypeError, match="whole number of microseconds"):
                await runtime.deadline(unused, wrong)
            unused.close()

    events_of(work(), runtime)
    assert type(runtime.now_us()) is int
    assert runtime.wall_us() == START_WALL_US + 7


def test_equal_times_are_first_in_first_out(runtime: SimRuntime) -> None:
    """Not to be relied on by the model, but what makes a replay equal."""
    order: list[int] = []

    async def work(number: int) -> None:
        await runtime.sleep(5)
        order.append(number)

    for number in range(20):
        runtime.spawn(work(number), at_us=10)
    runtime.run()
    assert order == list(range(20))


def test_run_leaves_out_its_last_instant(runtime: SimRuntime) -> None:
    """``run(until)`` stops before what is due at that time; a second run goes on from there."""
    times: list[int] = []

    async def work() -> None:
        while len(times) < 5:
            await runtime.sleep(10)
            times.append(runtime.now_us())

    runtime.spawn(work())
    runtime.run(30)
    assert (times, runtime.now_us()) == ([10, 20], 30)
    runtime.run()
    assert times == [10, 20, 30, 40, 50]


def test_a_sleep_can_be_awaited_late(runtime: SimRuntime) -> None:
    """Its time runs from the call; awaited after that, it is over at once."""

    async def work() -> int:
        sleep = runtime.sleep(5)
        await runtime.sleep(9)
        await sleep
        return runtime.now_us()

    times: list[int] = []

    async def main() -> None:
        times.append(await work())

    events_of(main(), runtime)
    assert times == [9]


# --------------------------------------------------------------------------- errors


def test_run_raises_what_nobody_awaits(runtime: SimRuntime) -> None:
    """By default the run stops with the very error, its trace leading to the line at fault."""
    error = OddError(code=4)

    async def at_fault() -> None:
        await runtime.sleep(3)
        raise error

    runtime.spawn(at_fault())
    with pytest.raises(OddError) as raised:
        runtime.run()
    assert raised.value is error
    assert raised.traceback[-1].name == "at_fault"
    assert runtime.now_us() == 3


@coroutine
def awaiting_by_hand(thing: Any) -> Generator[Any, Any, None]:
    yield thing


async def sleeps_in_asyncio() -> None:
    await asyncio.sleep(0)


async def waits_for_a_future() -> None:
    loop = asyncio.new_event_loop()
    try:
        await loop.create_future()
    finally:
        loop.close()


@pytest.mark.parametrize(
    "foreign",
    [sleeps_in_asyncio, waits_for_a_future, lambda: awaiting_by_hand(7)],
    ids=["asyncio.sleep", "future", "a number"],
)
def test_foreign_awaitables_are_named(runtime: SimRuntime, foreign: Any) -> None:
    """SimPy would say that a coroutine has no ``gi_frame``; we say what is wrong, and where."""

    async def work() -> None:
        await foreign()

    runtime.spawn(work())
    with pytest.raises(TypeError, match="only what its Runtime hands out") as raised:
        runtime.run()
    assert "work" in [entry.name for entry in raised.traceback]


def test_a_bare_simpy_event_is_refused_by_python(runtime: SimRuntime) -> None:
    """SimPy's own events cannot be awaited; the message is Python's and clear."""

    async def work() -> None:
        event: Any = runtime.env.timeout(1)
        await event

    runtime.spawn(work())
    with pytest.raises(TypeError, match="Timeout can't be used in 'await' expression"):
        runtime.run()


def test_keyboard_interrupt_ends_the_run(runtime: SimRuntime) -> None:
    """Ctrl-C inside a job is not the job's error; the others can still be shut down."""

    async def interrupted() -> None:
        await runtime.sleep(1)
        raise KeyboardInterrupt

    async def other() -> None:
        await runtime.sleep(9)

    runtime.spawn(interrupted())
    runtime.spawn(other())
    with pytest.raises(KeyboardInterrupt):
        runtime.run()
    assert runtime.shutdown() == 1


def test_a_run_stopped_halfway_through_an_event_can_be_shut_down(runtime: SimRuntime) -> None:
    """One of two waiters fails; the other, woken by the same event, was never reached."""
    ended: list[str] = []

    async def wait(latch: Any, name: str) -> None:
        try:
            await latch.wait()
            raise OddError(code=1)
        finally:
            ended.append(name)

    latch = runtime.latch()
    runtime.spawn(wait(latch, "first"))
    runtime.spawn(wait(latch, "second"))
    runtime.run(5)
    latch.set()
    with pytest.raises(OddError):
        runtime.run()
    assert runtime.shutdown() == 1
    assert ended == ["first", "second"]


# --------------------------------------------------------------------------- horizon


def test_shutdown_ends_all_jobs_now(runtime: SimRuntime) -> None:
    """In the order of spawning, unstarted ones too, and nothing is left for the collector."""
    ended: list[tuple[int, str]] = []

    async def work(name: str) -> None:
        try:
            await runtime.latch().wait()
        finally:
            ended.append((runtime.now_us(), name))

    async def short() -> None:
        await runtime.sleep(1)

    for name in ("c", "a", "b"):
        runtime.spawn(work(name))
    runtime.spawn(short())
    runtime.spawn(work("unstarted"), at_us=1_000)
    runtime.run(100)
    assert runtime.shutdown() == 4
    assert ended == [(100, "c"), (100, "a"), (100, "b")]
    gc.collect()
    assert len(ended) == 3


def test_shutdown_stops_the_clock_for_clean_ups(runtime: SimRuntime) -> None:
    """A clean-up that awaits is cancelled at that await; jobs it spawns and gathers end too."""
    steps: list[str] = []

    async def work() -> None:
        try:
            await runtime.gather([nap(), nap()], 1)
        finally:
            runtime.spawn(nap())
            try:
                await runtime.sleep(5)
            except Cancelled:
                steps.append("cut short")
                raise

    async def nap() -> None:
        await runtime.sleep(500)
        steps.append("never")

    runtime.spawn(work())
    runtime.run(10)
    assert runtime.shutdown() == 2
    assert (steps, runtime.now_us()) == (["cut short"], 10)
    assert runtime.shutdown() == 0


def test_shutdown_raises_after_all_have_ended(runtime: SimRuntime) -> None:
    """An error in one clean-up does not keep the other jobs alive."""
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await runtime.sleep(50)
        finally:
            ended.append(number)
            if number == 0:
                raise OddError(code=0)

    for number in range(3):
        runtime.spawn(work(number))
    runtime.run(10)
    with pytest.raises(OddError):
        runtime.shutdown()
    assert ended == [0, 1, 2]


def test_shutdown_gives_up_on_an_endless_clean_up(runtime: SimRuntime) -> None:
    """A job that awaits again after every cancellation is named instead of hanging the run."""
    patience = 2_000

    async def stubborn() -> None:
        for _ in range(patience):
            try:
                await runtime.sleep(1)
            except Cancelled:
                continue

    work = stubborn()
    runtime.spawn(work)
    runtime.run(1)
    with pytest.raises(RuntimeError, match=r"stubborn.* goes on awaiting"):
        runtime.shutdown()
    for _ in range(patience):
        try:
            work.throw(Cancelled())
        except StopIteration:
            break
