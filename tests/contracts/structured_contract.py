"""What every Runtime must do, part two: latch, limiter, gather, deadline."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from reference_impl.ports import DeadlineExceeded, Latch, Limiter
from tests.contracts.runtime_contract import OddError, World, case, caught, fail

# --------------------------------------------------------------------------- latch


async def wait_and_tell(world: World, latch: Latch, name: str) -> Any:
    value = await latch.wait()
    world.tell(f"{name} has {value}")
    return value


@case
async def latch_wakes_all_in_order(world: World) -> None:
    """All waiters get the value, in the order in which they came; late ones at once."""
    latch = world.runtime.latch()
    for tick in range(3):
        world.runtime.spawn(wait_and_tell(world, latch, f"w{tick}"), at_us=world.at(tick))
    await world.sleep(4)
    assert not latch.is_set
    latch.set("x")
    assert latch.is_set
    world.tell(f"late has {await latch.wait()}")
    await world.sleep(1)
    names = ["late", "w0", "w1", "w2"]
    assert world.story == [(4, f"{name} has x") for name in names]


@case
async def latch_carries_an_error(world: World) -> None:
    """Waiters, early and late, get the very object; nobody need wait for it."""
    error = OddError(code=3)
    latch = world.runtime.latch()
    early = world.runtime.spawn(caught(latch.wait()))
    await world.sleep(1)
    latch.fail(error)
    assert await early is error
    assert await caught(latch.wait()) is error
    world.runtime.latch().fail(error)
    await world.sleep(1)
    assert world.errors == []


@case
async def latch_is_set_once(world: World) -> None:
    """A second outcome is an error and changes nothing."""
    latch, failed = world.runtime.latch(), world.runtime.latch()
    latch.set(1)
    failed.fail(ValueError("first"))
    for attempt in (latch.set, failed.set):
        with pytest.raises(RuntimeError, match="set already"):
            attempt(2)
    for attempt in (latch.fail, failed.fail):
        with pytest.raises(RuntimeError, match="set already"):
            attempt(ValueError("second"))
    assert await latch.wait() == 1
    assert str(await caught(failed.wait())) == "first"


@case
async def latch_survives_a_cancelled_waiter(world: World) -> None:
    """One waiter's cancellation is nothing to the others."""
    latch = world.runtime.latch()
    first = world.runtime.spawn(wait_and_tell(world, latch, "first"))
    second = world.runtime.spawn(wait_and_tell(world, latch, "second"))
    await world.sleep(1)
    first.cancel()
    await world.sleep(1)
    latch.set(5)
    assert await second == 5
    assert isinstance(await caught(first), world.cancelled)
    assert world.story == [(2, "second has 5")]


# --------------------------------------------------------------------------- limiter


async def hold(world: World, limiter: Limiter, name: str, ticks: int) -> None:
    async with limiter:
        await world.nap(name, ticks)


@case
async def limiter_serves_in_order(world: World) -> None:
    """Two at a time; who comes first is served first, however long the others hold."""
    limiter = world.runtime.limiter(2)
    works = [("a", 10, 0), ("b", 5, 1), ("c", 8, 2), ("d", 2, 3)]
    jobs = [
        world.runtime.spawn(hold(world, limiter, name, ticks), at_us=world.at(start))
        for name, ticks, start in works
    ]
    for job in jobs:
        await job
    assert world.story == [
        (0, "a starts"),
        (1, "b starts"),
        (6, "b ends"),
        (6, "c starts"),
        (10, "a ends"),
        (10, "d starts"),
        (12, "d ends"),
        (14, "c ends"),
    ]


@case
async def limiter_forgets_a_cancelled_waiter(world: World) -> None:
    """SimPy's Resource would keep its place and grant it to nobody: the third would starve."""
    limiter = world.runtime.limiter(1)
    holder, waiter, third = (
        world.runtime.spawn(hold(world, limiter, name, 4), at_us=world.at(tick))
        for tick, name in enumerate(["holder", "waiter", "third"])
    )
    await world.sleep(3)
    waiter.cancel()
    await third
    assert holder.done
    assert world.story == [
        (0, "holder starts"),
        (4, "holder ends"),
        (4, "third starts"),
        (8, "third ends"),
    ]


@case
async def limiter_passes_on_a_turn_that_came_too_late(world: World) -> None:
    """Granted and cancelled in one instant, before it could run: the next is served."""
    limiter = world.runtime.limiter(1)
    async with limiter:
        waiter = world.runtime.spawn(hold(world, limiter, "waiter", 1))
        third = world.runtime.spawn(hold(world, limiter, "third", 1))
        await world.sleep(1)
    waiter.cancel()
    await third
    await hold(world, limiter, "fourth", 1)
    starts = [what for _, what in world.story if what.endswith("starts")]
    assert starts == ["third starts", "fourth starts"]


@case
async def limiter_is_left_by_error_and_cancellation(world: World) -> None:
    """However the body ends, its place is free again."""
    limiter = world.runtime.limiter(1)

    async def fail_inside() -> None:
        async with limiter:
            raise OddError(code=2)

    assert isinstance(await caught(fail_inside()), OddError)
    holder = world.runtime.spawn(hold(world, limiter, "holder", 9))
    await world.sleep(1)
    holder.cancel()
    await hold(world, limiter, "next", 1)
    assert world.story[-1] == (2, "next ends")


@case
async def limiter_needs_capacity(world: World) -> None:
    """Capacity below one could serve nobody."""
    with pytest.raises(ValueError, match="at least 1"):
        world.runtime.limiter(0)


# --------------------------------------------------------------------------- gather


@case
async def gather_keeps_the_order(world: World) -> None:
    """Results stand in the order of the works, all of which run side by side."""
    results = await world.runtime.gather(world.nap(str(ticks), ticks) for ticks in (3, 1, 2))
    world.tell("done")
    assert results == ["3", "1", "2"]
    assert world.story[-1] == (3, "done")
    assert await world.runtime.gather([]) == []


@case
async def gather_keeps_the_limit(world: World) -> None:
    """No more than the limit at once, and the next starts as soon as one ends."""
    works = [world.nap(name, ticks) for name, ticks in (("a", 5), ("b", 2), ("c", 2), ("d", 3))]
    assert await world.runtime.gather(works, 2) == ["a", "b", "c", "d"]
    starts = [(tick, what) for tick, what in world.story if what.endswith("starts")]
    assert starts == [(0, "a starts"), (0, "b starts"), (2, "c starts"), (4, "d starts")]


@case
async def gather_stops_at_the_first_error(world: World) -> None:
    """The rest is cancelled, the unstarted never run, and only then the error is raised."""
    error = OddError(code=9)

    async def slow_to_stop() -> None:
        try:
            await world.sleep(9)
        finally:
            await world.nap("clean-up", 3)

    works: list[Coroutine[Any, Any, Any]] = [
        fail(world, error, 2),
        slow_to_stop(),
        world.nap("unstarted", 1),
    ]
    assert await caught(world.runtime.gather(works, 2)) is error
    world.tell("raised")
    assert world.story == [(2, "clean-up starts"), (5, "clean-up ends"), (5, "raised")]
    assert world.errors == []


@case
async def gather_stops_before_the_others_began(world: World) -> None:
    """An error in the very first step, while the other workers have yet to start."""

    async def at_once() -> None:
        raise OddError(code=4)

    works: list[Coroutine[Any, Any, Any]] = [at_once(), world.nap("b", 1), world.nap("c", 1)]
    assert isinstance(await caught(world.runtime.gather(works)), OddError)
    assert all(what.endswith("ends") for _, what in world.story[1::2])


@case
async def gather_is_cancelled_with_its_caller(world: World) -> None:
    """All works are cancelled, and the caller ends after them."""

    async def work() -> None:
        try:
            await world.runtime.gather([world.nap("a", 9), world.nap("b", 9)], 1)
        finally:
            world.tell("caller ends")

    job = world.runtime.spawn(work())
    await world.sleep(2)
    job.cancel()
    assert isinstance(await caught(job), world.cancelled)
    assert world.story == [(0, "a starts"), (2, "a ends"), (2, "caller ends")]


@case
async def gather_tells_of_a_cancelled_work(world: World) -> None:
    """A work that ends cancelled by itself ends the gathering like an error."""
    other = world.runtime.spawn(world.nap("other", 9))

    async def wait() -> None:
        await other

    gathering = world.runtime.spawn(world.runtime.gather([wait(), fail(world, ValueError(), 8)]))
    await world.sleep(1)
    other.cancel()
    assert isinstance(await caught(gathering), world.cancelled)
    world.tell("raised")
    assert world.story[-1] == (1, "raised")


@case
async def gather_needs_a_limit_above_zero(world: World) -> None:
    """A limit that could run nothing is refused, and the works are closed."""
    with pytest.raises(ValueError, match="at least 1"):
        await world.runtime.gather([world.nap("a", 1)], 0)
    assert world.story == []


# --------------------------------------------------------------------------- deadline


@case
async def deadline_passes_the_result_on(world: World) -> None:
    """In time, it is as if there were no deadline, then and later."""
    assert await world.runtime.deadline(world.nap("work", 2), world.at(3) - world.at(0)) == "work"
    await world.sleep(5)
    world.tell("undisturbed")
    assert world.story[-1] == (7, "undisturbed")


@case
async def deadline_waits_for_the_clean_up(world: World) -> None:
    """Time runs out, ``finally`` runs to its end, then the error is raised."""

    async def work() -> None:
        try:
            await world.sleep(9)
        finally:
            await world.nap("clean-up", 3)

    error = await caught(world.runtime.deadline(work(), 2 * world.tick_us))
    world.tell("raised")
    assert isinstance(error, DeadlineExceeded)
    assert world.story == [(2, "clean-up starts"), (5, "clean-up ends"), (5, "raised")]
    await world.sleep(1)
    world.tell("goes on")
    assert world.story[-1] == (6, "goes on")


@case
async def deadline_passes_errors_on(world: World) -> None:
    """An error of the work is raised as it is, a ``TimeoutError`` of its own too."""
    for error in (OddError(code=1), TimeoutError("its own"), DeadlineExceeded("its own")):
        assert await caught(world.runtime.deadline(fail(world, error), 5 * world.tick_us)) is error


@case
async def deadline_of_nothing(world: World) -> None:
    """Work that would have to wait is cancelled at once; work that need not is done."""

    async def instant() -> str:
        return "done"

    assert await world.runtime.deadline(instant(), 0) == "done"
    error = await caught(world.runtime.deadline(world.nap("work", 5), -1))
    assert isinstance(error, DeadlineExceeded)
    assert world.story == [(0, "work starts"), (0, "work ends")]


@case
async def inner_deadline_comes_first(world: World) -> None:
    """The inner one is the inner caller's; the outer goes on."""

    async def work() -> str:
        error = await caught(world.runtime.deadline(world.nap("inner work", 9), 2 * world.tick_us))
        assert isinstance(error, DeadlineExceeded)
        await world.sleep(1)
        return "went on"

    assert await world.runtime.deadline(work(), 5 * world.tick_us) == "went on"


@case
async def outer_deadline_comes_first(world: World) -> None:
    """It passes the inner one, which must not take it for its own."""

    async def work() -> None:
        try:
            await world.runtime.deadline(world.nap("inner work", 9), 5 * world.tick_us)
        except DeadlineExceeded:
            world.tell("inner")

    error = await caught(world.runtime.deadline(work(), 2 * world.tick_us))
    assert isinstance(error, DeadlineExceeded)
    world.tell("outer")
    await world.sleep(9)
    assert world.story == [(2, "outer")]


@case
async def cancellation_is_no_deadline(world: World) -> None:
    """Cancelled from outside, also while a passed deadline cleans up, a job is cancelled."""

    async def work() -> None:
        try:
            await world.sleep(9)
        finally:
            await world.sleep(3)

    early = world.runtime.spawn(world.runtime.deadline(work(), 5 * world.tick_us))
    late = world.runtime.spawn(world.runtime.deadline(work(), 1 * world.tick_us))
    await world.sleep(2)
    early.cancel()
    late.cancel()
    assert isinstance(await caught(early), world.cancelled)
    assert isinstance(await caught(late), world.cancelled)


@case
async def deadline_may_be_declined(world: World) -> None:
    """Work that catches the cancellation and returns has met it late, but has a result."""

    async def work() -> str:
        try:
            await world.sleep(9)
        except world.cancelled:
            await world.sleep(1)
        return "late"

    assert await world.runtime.deadline(work(), 2 * world.tick_us) == "late"
    await world.sleep(1)
    world.tell("goes on")
    assert world.story == [(4, "goes on")]
