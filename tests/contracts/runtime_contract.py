"""What every Runtime must do, part one: clock, jobs, errors, cancellation.

A case is an ``async def`` over a :class:`World`. It tells what happens in ticks and compares the
whole story; no two events of a case that are not cause and effect share a tick, as their order
would be left to the runtime.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from reference_impl.ports import Runtime


@dataclass
class World:
    """A runtime under test and what is known of it."""

    runtime: Runtime
    cancelled: type[BaseException]
    tick_us: int
    exact: bool
    errors: list[Exception]
    start_us: int = 0
    story: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start_us = self.runtime.now_us()

    def sleep(self, ticks: int) -> Awaitable[None]:
        return self.runtime.sleep(ticks * self.tick_us)

    def at(self, tick: int) -> int:
        return self.start_us + tick * self.tick_us

    def tell(self, what: str) -> None:
        tick, rest_us = divmod(self.runtime.now_us() - self.start_us, self.tick_us)
        assert not (self.exact and rest_us), f"{what}: {rest_us} us off the tick"
        self.story.append((tick, what))

    async def nap(self, name: str, ticks: int) -> str:
        """Sleep and tell what became of it."""
        self.tell(f"{name} starts")
        try:
            await self.sleep(ticks)
        finally:
            self.tell(f"{name} ends")
        return name


Case = Callable[[World], Coroutine[Any, Any, None]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    """Put ``function`` into the suite."""
    CASES.append(function)
    return function


class OddError(Exception):
    """Cannot be rebuilt from its ``args``: SimPy's own way with errors would fail on it."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


async def fail(world: World, error: Exception, ticks: int = 1) -> None:
    await world.sleep(ticks)
    raise error


async def caught(work: Awaitable[Any]) -> BaseException:
    """The error that awaiting ``work`` raises, whatever it is."""
    try:
        await work
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


# --------------------------------------------------------------------------- clock


@case
async def sleep_takes_its_time(world: World) -> None:
    """A sleep ends after its time, neither early nor (where time is virtual) late."""
    await world.sleep(3)
    world.tell("a")
    await world.sleep(2)
    world.tell("b")
    assert world.story == [(3, "a"), (5, "b")]


@case
async def sleep_of_nothing_takes_no_time(world: World) -> None:
    """Zero or less passes no time."""
    await world.sleep(0)
    await world.sleep(-1)
    world.tell("a")
    assert world.story == [(0, "a")]


@case
async def sleep_until_is_absolute(world: World) -> None:
    """The target does not move by the time spent before; a past target returns at once."""
    await world.sleep(2)
    await world.runtime.sleep_until(world.at(5))
    world.tell("a")
    await world.runtime.sleep_until(world.at(1))
    world.tell("b")
    assert world.story == [(5, "a"), (5, "b")]


@case
async def wall_clock_goes_along(world: World) -> None:
    """Wall time passes as monotonic time does."""
    before_us = world.runtime.wall_us()
    await world.sleep(4)
    passed_us = world.runtime.wall_us() - before_us
    assert passed_us == 4 * world.tick_us if world.exact else passed_us > 0


@case
async def fractions_of_time_are_refused(world: World) -> None:
    """A float would make equal times unequal; no runtime takes one."""
    half: Any = 0.5
    with pytest.raises(TypeError, match="whole number of microseconds"):
        await world.runtime.sleep(half)
    with pytest.raises(TypeError, match="whole number of microseconds"):
        await world.runtime.sleep_until(world.runtime.now_us() + 1_000_000 + half)


# --------------------------------------------------------------------------- jobs


@case
async def spawn_runs_beside_the_caller(world: World) -> None:
    """The job starts after ``spawn`` has returned, and its result comes by awaiting it."""
    job = world.runtime.spawn(world.nap("job", 2))
    world.tell("spawned")
    before, result, after = job.done, await job, job.done
    assert (before, result, after) == (False, "job", True)
    assert await job == "job"
    assert world.story == [(0, "spawned"), (0, "job starts"), (2, "job ends")]


@case
async def spawn_at_a_time(world: World) -> None:
    """A job given a time starts then; one whose time is past starts now."""
    later = world.runtime.spawn(world.nap("later", 1), at_us=world.at(4))
    await world.sleep(1)
    past = world.runtime.spawn(world.nap("past", 1), at_us=world.at(0))
    assert [await past, await later] == ["past", "later"]
    assert world.story == [
        (1, "past starts"),
        (2, "past ends"),
        (4, "later starts"),
        (5, "later ends"),
    ]


@case
async def spawn_wants_a_coroutine(world: World) -> None:
    """The function itself instead of its coroutine is an error that says so."""
    uncalled: Any = world.nap
    with pytest.raises(TypeError, match="was the function called"):
        world.runtime.spawn(uncalled)


@case
async def many_may_await_one_job(world: World) -> None:
    """All who wait get the result, those who come late too."""

    async def wait() -> Any:
        return await job

    job = world.runtime.spawn(world.nap("job", 2))
    waiters = [world.runtime.spawn(wait()) for _ in range(3)]
    assert [await waiter for waiter in waiters] == ["job"] * 3


@case
async def jobs_live_without_references(world: World) -> None:
    """A job goes on though nobody holds it."""
    world.runtime.spawn(world.nap("job", 2))
    await world.sleep(1)
    gc.collect()
    await world.sleep(2)
    assert world.story == [(0, "job starts"), (2, "job ends")]


# --------------------------------------------------------------------------- errors


@case
async def errors_keep_their_identity(world: World) -> None:
    """Every waiter, early or late, gets the very object that was raised."""
    error = OddError(code=7)
    job = world.runtime.spawn(fail(world, error))
    early = world.runtime.spawn(caught(job))
    assert await caught(job) is error
    assert await early is error
    assert await caught(job) is error
    assert world.errors == []


@case
async def errors_do_not_grow_their_trace(world: World) -> None:
    """Each waiter sees where the error came from, not the frames of the waiters before."""

    def depth(error: BaseException) -> int:
        trace, frames = error.__traceback__, 0
        while trace is not None:
            trace, frames = trace.tb_next, frames + 1
        return frames

    job = world.runtime.spawn(fail(world, ValueError("one")))
    depths = [depth(await caught(job)) for _ in range(4)]
    assert depths[1:] == depths[1:2] * 3


@case
async def unawaited_errors_are_reported(world: World) -> None:
    """``on_error`` gets it once and at once; the others go on; awaiting later raises it."""
    error = OddError(code=1)
    job = world.runtime.spawn(fail(world, error, 1))
    other = world.runtime.spawn(world.nap("other", 4))
    await world.sleep(2)
    assert world.errors == [error]
    assert await caught(job) is error
    assert await other == "other"
    assert world.errors == [error]


@case
async def an_error_whose_waiter_left_is_reported(world: World) -> None:
    """A waiter that was cancelled before does not count."""
    error = ValueError("alone")
    job = world.runtime.spawn(fail(world, error, 3))
    waiter = world.runtime.spawn(caught(job))
    await world.sleep(1)
    waiter.cancel()
    await world.sleep(3)
    assert world.errors == [error]


# --------------------------------------------------------------------------- cancellation


@case
async def cancellation_runs_the_clean_up(world: World) -> None:
    """``finally`` runs, may await, and the old sleep does not wake it early."""

    async def work() -> None:
        try:
            await world.sleep(5)
        finally:
            await world.nap("clean-up", 7)

    job = world.runtime.spawn(work())
    await world.sleep(2)
    job.cancel()
    world.tell("cancelled")
    assert isinstance(await caught(job), world.cancelled)
    assert world.story == [(2, "cancelled"), (2, "clean-up starts"), (9, "clean-up ends")]


@case
async def cancellation_is_no_exception(world: World) -> None:
    """``except Exception`` lets it pass, as everywhere in asyncio and nowhere in SimPy."""

    async def work() -> None:
        try:
            await world.sleep(5)
        except Exception:
            world.tell("swallowed")

    job = world.runtime.spawn(work())
    await world.sleep(1)
    job.cancel()
    error = await caught(job)
    assert isinstance(error, world.cancelled)
    assert not isinstance(error, Exception)
    assert world.story == []
    assert world.errors == []


@case
async def cancel_before_the_start(world: World) -> None:
    """Not a line of the job runs, and Python does not complain that it was never awaited."""
    now = world.runtime.spawn(world.nap("now", 1))
    later = world.runtime.spawn(world.nap("later", 1), at_us=world.at(3))
    now.cancel()
    later.cancel()
    await world.sleep(1)
    assert now.done
    assert later.done
    waiting = world.runtime.spawn(world.nap("waiting", 1), at_us=world.at(4))
    await world.sleep(1)
    waiting.cancel()
    assert isinstance(await caught(waiting), world.cancelled)
    await world.sleep(4)
    assert world.story == []


@case
async def cancel_when_it_is_over(world: World) -> None:
    """Too late is without effect."""
    job = world.runtime.spawn(world.nap("job", 1))
    await world.sleep(2)
    job.cancel()
    assert await job == "job"


@case
async def cancelling_twice_throws_once(world: World) -> None:
    """Requests of one instant are one."""

    async def work() -> None:
        try:
            await world.sleep(5)
        finally:
            await world.nap("clean-up", 1)

    job = world.runtime.spawn(work())
    await world.sleep(1)
    job.cancel()
    job.cancel()
    await caught(job)
    assert world.story == [(1, "clean-up starts"), (2, "clean-up ends")]


@case
async def cancel_during_the_clean_up(world: World) -> None:
    """A second request, later, ends the clean-up's own await."""

    async def work() -> None:
        try:
            await world.sleep(9)
        finally:
            await world.nap("clean-up", 9)

    job = world.runtime.spawn(work())
    for _ in range(2):
        await world.sleep(2)
        job.cancel()
    await caught(job)
    assert world.story == [(2, "clean-up starts"), (4, "clean-up ends")]


@case
async def cancellation_may_be_declined(world: World) -> None:
    """A job that catches it and returns has a result."""

    async def work() -> str:
        try:
            await world.sleep(5)
        except world.cancelled:
            await world.sleep(1)
        return "stayed"

    job = world.runtime.spawn(work())
    await world.sleep(1)
    job.cancel()
    assert await job == "stayed"


@case
async def a_job_may_cancel_itself(world: World) -> None:
    """It takes effect at the next await."""

    async def work() -> None:
        job.cancel()
        world.tell("still here")
        await world.sleep(1)
        world.tell("never")

    job = world.runtime.spawn(work())
    assert isinstance(await caught(job), world.cancelled)
    assert world.story == [(0, "still here")]


@case
async def a_cancelled_waiter_leaves_the_job_alone(world: World) -> None:
    """Unlike asyncio's own tasks: cancellation does not travel along an await of a job."""
    job = world.runtime.spawn(world.nap("job", 3))
    waiter = world.runtime.spawn(caught(job))
    await world.sleep(1)
    waiter.cancel()
    assert isinstance(await waiter, world.cancelled)
    assert await job == "job"
    assert world.story == [(0, "job starts"), (3, "job ends")]
