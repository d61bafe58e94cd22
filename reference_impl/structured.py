"""Gather and limiter, written once over the few primitives that every runtime has.

House rules of this file: it awaits only latches and the coroutines handed in, starts jobs only
through ``spawn``, and knows neither SimPy nor asyncio. Each runtime gives these to its users as
:meth:`ports.Runtime.gather` and :meth:`ports.Runtime.limiter`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from reference_impl.ports import Job, Latch, Runtime

T = TypeVar("T")


class FifoLimiter:
    """At most ``capacity`` holders at a time, served first in, first out.

    Costs no event while there is room. Capacity passes straight from the holder that leaves to
    the first in the queue, so a newcomer cannot overtake, and a waiter that is cancelled either
    leaves the queue or, when its turn came in the same instant, passes the turn on.

    Raises:
        ValueError: ``capacity`` is below 1.
    """

    def __init__(self, capacity: int, latch: Callable[[], Latch]) -> None:
        if capacity < 1:
            raise ValueError(f"a limiter needs a capacity of at least 1, not {capacity}")
        self._free = capacity
        self._latch = latch
        self._queue: deque[Latch] = deque()

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = self._latch()
        self._queue.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set:
                self._pass_on()
            else:
                self._queue.remove(turn)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1


async def gather(
    runtime: Runtime, works: Iterable[Coroutine[Any, Any, T]], limit: int | None = None
) -> list[T]:
    """Run ``works`` side by side, at most ``limit`` at once; their results in the same order.

    The first error (or the caller's own cancellation) cancels what runs, closes what has not
    started, and is raised once everything has stopped. Errors of the others' clean-up are lost.

    Raises:
        ValueError: ``limit`` is below 1.
    """
    return await _Group(runtime, works).run(limit)


class _Group(Generic[T]):
    """The state of one :func:`gather`: workers that take the next piece until none is left."""

    def __init__(self, runtime: Runtime, works: Iterable[Coroutine[Any, Any, T]]) -> None:
        self._runtime = runtime
        self._pending = deque(enumerate(works))
        self._results: dict[int, T] = {}
        self._busy: dict[int, Job[None]] = {}
        self._jobs: list[Job[None]] = []
        self._left = 0
        self._finished = runtime.latch()
        self._error: BaseException | None = None

    async def run(self, limit: int | None) -> list[T]:
        total = len(self._pending)
        if limit is not None and limit < 1:
            self._stop(ValueError(f"the limit of gather must be at least 1, not {limit}"))
        elif total:
            self._left = min(total, limit or total)
            self._jobs = [self._runtime.spawn(self._worker(n)) for n in range(self._left)]
            await self._all_stopped()
        if self._error is not None:
            raise self._error
        return [self._results[index] for index in range(total)]

    async def _all_stopped(self) -> None:
        try:
            await self._finished.wait()
        except BaseException as error:  # the caller itself is cancelled
            self._stop(error)
            for job in self._jobs:
                await self._ended(job)

    async def _ended(self, job: Job[None]) -> None:
        """Wait for a worker, also for one that was cancelled before it began and cannot count
        itself, as at the end of an event loop."""
        try:
            await job
        except BaseException:
            if not job.done:  # the caller is cancelled once more
                raise

    async def _worker(self, number: int) -> None:
        try:
            while self._pending:
                index, work = self._pending.popleft()
                self._busy[number] = self._jobs[number]
                self._results[index] = await work
        except BaseException as error:
            self._stop(error)
        self._busy.pop(number, None)
        self._left -= 1
        if not self._left:
            self._finished.set()

    def _stop(self, error: BaseException) -> None:
        """Keep the first error and stop the rest.

        A worker that has not begun is let run: it finds nothing pending and ends. Cancelling it
        would end it before it could be counted.
        """
        if self._error is not None:
            return
        self._error = error
        for _, work in self._pending:
            work.close()
        self._pending.clear()
        for job in self._busy.values():
            job.cancel()
