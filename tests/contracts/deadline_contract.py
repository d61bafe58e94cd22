"""What every Runtime must do, part three: deadline."""

from __future__ import annotations

from reference_impl.ports import DeadlineExceeded
from tests.contracts.runtime_contract import OddError, World, case, caught, fail


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
    assert world.story[1:] == [(2, "inner work ends"), (2, "outer")]


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


@case
async def deadlines_of_several_tries(world: World) -> None:
    """Tries that timed out inside do not make the outer deadline look like a cancellation."""

    async def retry() -> None:
        for number in range(9):
            try:
                await world.runtime.deadline(world.nap(f"try {number}", 9), 2 * world.tick_us)
            except DeadlineExceeded:
                continue

    error = await caught(world.runtime.deadline(retry(), 5 * world.tick_us))
    assert isinstance(error, DeadlineExceeded)
    assert world.story[-1] == (5, "try 2 ends")


@case
async def deadline_passes_on_what_the_clean_up_raises(world: World) -> None:
    """After the time ran out too, even when it looks like asyncio's own error."""

    async def work(error: Exception) -> None:
        try:
            await world.sleep(9)
        finally:
            raise error

    for error in (OddError(code=6), TimeoutError("in the clean-up")):
        assert await caught(world.runtime.deadline(work(error), 2 * world.tick_us)) is error
