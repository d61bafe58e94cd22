"""What every Runtime must do, part two: latch, limiter, gather."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from reference_impl.ports import Latch, Limiter
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
    before = latch.is_set
    latch.set("x")
    assert (before, latch.is_set) == (False, True)
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
    for settled in (latch, failed):
        with pytest.raises(RuntimeError, match="set already"):
            settled.set(2)
        with pytest.raises(RuntimeError, match="set already"):
            settled.fail(ValueError("second"))
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


@case
async def latch_is_set_right_after_a_cancel(world: World) -> None:
    """A waiter that is cancelled but has not run yet is no obstacle, and stays cancelled."""
    latch = world.runtime.latch()
    waiters = [world.runtime.spawn(wait_and_tell(world, latch, name)) for name in ("a", "b")]
    await world.sleep(1)
    waiters[0].cancel()
    latch.set(5)
    assert isinstance(await caught(waiters[0]), world.cancelled)
    assert await waiters[1] == 5
    assert world.story == [(1, "b has 5")]


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
