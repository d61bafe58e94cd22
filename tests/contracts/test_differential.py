"""One workload of everything at once, on both runtimes: the same trace, to the microsecond."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reference_impl.ports import DeadlineExceeded, Job, Latch
from tests.contracts.runners import on_sim, on_virtual_loop
from tests.contracts.runtime_contract import OddError, World

JOBS, STEPS = 200, 6
LONGEST_US = 50_000_000  # so long that of some thousand times no two are equal

Trace = list[tuple[int, str]]


class Workload:
    """``JOBS`` jobs that meet at latches and limiters, wait for, time out and cancel each other.

    What a job does is drawn from the seed and its own number, so that it does not depend on the
    order in which the jobs happen to run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.trace: Trace = []

    async def __call__(self, world: World) -> None:
        self.world = world
        self.runtime = world.runtime
        self.jobs: list[Job[None]] = []
        self.latches: list[Latch] = [self.runtime.latch() for _ in range(60)]
        self.limiter = self.runtime.limiter(3)
        rng = random.Random(self.seed)
        for number in range(JOBS):
            at_us = world.start_us + rng.randrange(LONGEST_US)
            self.jobs.append(self.runtime.spawn(self._job(number), at_us=at_us))
        await self.runtime.sleep(100 * LONGEST_US)
        for latch in self.latches:
            if not latch.is_set:
                latch.set("at last")
        await self.runtime.sleep(100 * LONGEST_US)

    async def _job(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        steps: list[Callable[[random.Random], Awaitable[Any]]] = [
            self._wait_for_latch,
            self._settle_latch,
            self._hold,
            self._gather,
            self._deadline,
            self._cancel,
            self._await_job,
        ]
        for _ in range(STEPS):
            step = rng.choice(steps)
            label = f"{number}{step.__name__}"
            await self.runtime.sleep(rng.randrange(1, LONGEST_US))
            self._tell(f"{label} begins")
            try:
                self._tell(f"{label} {await step(rng)}")
            except (DeadlineExceeded, OddError) as error:
                self._tell(f"{label} {type(error).__name__}")
            except BaseException:
                self._tell(f"{label} cancelled")
                await self.runtime.sleep(rng.randrange(1, LONGEST_US))
                self._tell(f"{label} cleaned up")
                raise

    def _tell(self, what: str) -> None:
        self.trace.append((self.runtime.now_us() - self.world.start_us, what))

    async def _wait_for_latch(self, rng: random.Random) -> Any:
        return await rng.choice(self.latches).wait()

    async def _settle_latch(self, rng: random.Random) -> str:
        latch = rng.choice(self.latches)
        if latch.is_set:
            return "is set"
        if rng.random() < 0.3:
            latch.fail(OddError(code=1))
        else:
            latch.set(rng.random())
        return "settles"

    async def _hold(self, rng: random.Random) -> str:
        async with self.limiter:
            self._tell("holder in")
            await self.runtime.sleep(rng.randrange(1, LONGEST_US))
        return "held"

    async def _gather(self, rng: random.Random) -> list[int]:
        works = [self._piece(rng.randrange(1, LONGEST_US), rng.random()) for _ in range(5)]
        return await self.runtime.gather(works, rng.choice([None, 2, 3]))

    async def _piece(self, us: int, luck: float) -> int:
        await self.runtime.sleep(us)
        if luck < 0.05:
            raise OddError(code=2)
        return us

    async def _deadline(self, rng: random.Random) -> int:
        piece = self._piece(rng.randrange(1, LONGEST_US), rng.random())
        return await self.runtime.deadline(piece, rng.randrange(1, LONGEST_US))

    async def _cancel(self, rng: random.Random) -> str:
        other = rng.choice(self.jobs)
        if rng.random() < 0.5:  # else too few would live to do anything
            other.cancel()
        return f"cancels, done {other.done}"

    async def _await_job(self, rng: random.Random) -> Any:
        other = self.jobs[rng.randrange(JOBS // 4)]
        waiting = self._outcome(other)
        return await self.runtime.deadline(waiting, rng.randrange(1, 3 * LONGEST_US))

    async def _outcome(self, job: Job[None]) -> str:
        await job
        return "has ended"


@pytest.mark.parametrize("seed", range(4))
def test_equal_traces(seed: int) -> None:
    """Times are distinct, so nothing is left to chance: the traces are equal entry by entry."""
    on_simpy, on_asyncio = Workload(seed), Workload(seed)
    on_sim(on_simpy)
    on_virtual_loop(on_asyncio)
    assert on_simpy.trace == on_asyncio.trace


def test_the_workload_meets_everything() -> None:
    """The comparison means something: every outcome does occur, and many jobs take part."""
    workload = Workload(0)
    on_sim(workload)
    outcomes = {" ".join(what.lstrip("0123456789").split()[:2]) for _, what in workload.trace}
    expected = {
        "holder in",
        "_await_job cancelled",
        "_await_job has",
        "_await_job DeadlineExceeded",
        "_cancel cancels,",
        "_deadline DeadlineExceeded",
        "_deadline OddError",
        "_deadline cancelled",
        "_gather OddError",
        "_gather cancelled",
        "_gather cleaned",
        "_hold cancelled",
        "_hold held",
        "_settle_latch is",
        "_settle_latch settles",
        "_wait_for_latch OddError",
        "_wait_for_latch at",
        "_wait_for_latch cancelled",
    }
    assert expected <= outcomes
    assert len(workload.trace) > 5 * JOBS
