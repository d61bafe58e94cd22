"""asyncio behind the Runtime port: the same coroutines, in real time.

Differences between asyncio and the port that this file closes:

- Awaiting a task, or a future, hands one's own cancellation on to it. Here every waiter has a
  future of its own, so a cancelled waiter leaves the job or latch and the other waiters alone.
- The loop holds tasks weakly; a runtime holds its jobs until they are done.
- An error that nobody awaits would be logged when the task happens to be collected; here it goes
  to ``on_error`` when the job fails.
- A sleep may end early by a fraction of the clock's resolution, never here; it does end late, by
  about a millisecond with epoll. Aim at absolute times and carry the overshoot.

Use asyncio's own event loop: uvloop's clock counts whole milliseconds.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from typing import Any, ClassVar, Generic, TypeVar

from reference_impl import structured
from reference_impl.ports import DeadlineExceeded

T = TypeVar("T")


def system_wall_us() -> int:
    """The system's wall clock, microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000


def _whole(us: int) -> int:
    if type(us) is not int:
        raise TypeError(f"time is a whole number of microseconds (int), not {us!r}")
    return us


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Signal:
    """A moment that any number of tasks wait for, each with a future of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: dict[asyncio.Future[None], None] = {}  # in order of arrival

    async def wait(self) -> None:
        waiter = self._loop.create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            del self._waiters[waiter]

    def fire(self) -> bool:
        """Wake all who wait; False if there are none."""
        waiting = [waiter for waiter in self._waiters if not waiter.done()]
        for waiter in waiting:
            waiter.set_result(None)
        return bool(waiting)


class AsyncioLatch:
    """:class:`ports.Latch` for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._signal = _Signal(loop)
        self._value: Any = None
        self._error: Exception | None = None
        self._trace: types.TracebackType | None = None
        self.is_set = False

    def set(self, value: Any = None) -> None:
        self._once()
        self._value = value

    def fail(self, error: Exception) -> None:
        self._once()
        self._error, self._trace = error, error.__traceback__

    async def wait(self) -> Any:
        if not self.is_set:
            await self._signal.wait()
        if self._error is not None:
            # The very same error for every waiter, without the frames of the waiters before.
            raise self._error.with_traceback(self._trace)
        return self._value

    def _once(self) -> None:
        if self.is_set:
            raise RuntimeError("the latch is set already")
        self.is_set = True
        self._signal.fire()


class AsyncioJob(Generic[T]):
    """:class:`ports.Job`: a task that is not cancelled with those who await it."""

    __slots__ = ("_runtime", "_signal", "_work", "task")

    def __init__(
        self, runtime: AsyncioRuntime, work: Coroutine[Any, Any, T], task: asyncio.Task[T]
    ) -> None:
        self.task = task
        self._runtime = runtime
        self._work = work
        self._signal: _Signal | None = None
        task.add_done_callback(self._end)

    @property
    def done(self) -> bool:
        return self.task.done()

    def cancel(self) -> None:
        self.task.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        if not self.task.done():
            if self._signal is None:
                self._signal = _Signal(self.task.get_loop())
            yield from self._signal.wait().__await__()
        return self.task.result()

    def _end(self, task: asyncio.Task[T]) -> None:
        self._work.close()  # of no effect unless the job was cancelled before it began
        self._runtime.forget(self)
        awaited = self._signal is not None and self._signal.fire()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not awaited:
            self._runtime.on_error(error)


class AsyncioRuntime:
    """:class:`ports.Runtime` over the running loop; make it inside a coroutine.

    Args:
        wall_us: the wall clock; the system's unless given.
        on_error: gets the error of a job that nobody awaits at the moment it fails; unless given,
            the loop's exception handler does.
    """

    punctual: ClassVar[bool] = False

    def __init__(
        self,
        *,
        wall_us: Callable[[], int] = system_wall_us,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._alive: dict[AsyncioJob[Any], None] = {}  # strong, and in order of their start
        self.wall_us = wall_us
        self.on_error = self._report if on_error is None else on_error

    def now_us(self) -> int:
        """The loop's own clock: a loop with virtual time works, too."""
        return round(self._loop.time() * 1e6)

    async def sleep(self, us: int) -> None:
        if _whole(us) > 0:
            await self.sleep_until(self.now_us() + us)
        else:
            await asyncio.sleep(0)

    async def sleep_until(self, at_us: int) -> None:
        """Waits for the absolute time, again if the loop woke a little early."""
        while self.now_us() < _whole(at_us):
            waiter = self._loop.create_future()
            timer = self._loop.call_at(at_us / 1e6, _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()

    def spawn(self, work: Coroutine[Any, Any, T], *, at_us: int | None = None) -> AsyncioJob[T]:
        """Start ``work`` as a task.

        Raises:
            TypeError: ``work`` is no coroutine, for example a function that was not called.
        """
        if not hasattr(work, "send"):
            raise TypeError(f"spawn takes a coroutine, not {work!r}; was the function called?")
        steps = work if at_us is None else self._at(_whole(at_us), work)
        if (meter := _METER.get()) is not None and not meter.read:
            steps = _metered(meter, steps)
        job = AsyncioJob(self, work, self._loop.create_task(steps))
        self._alive[job] = None
        return job

    def gather(
        self, works: Iterable[Coroutine[Any, Any, T]], limit: int | None = None
    ) -> Coroutine[Any, Any, list[T]]:
        return structured.gather(self, works, limit)

    async def deadline(self, work: Coroutine[Any, Any, T], us: int) -> T:
        """Runs ``work`` within the caller's task. Raises as :meth:`ports.Runtime.deadline`."""
        scope = asyncio.timeout_at((self.now_us() + _whole(us)) / 1e6)
        try:
            async with scope:
                return await work
        except TimeoutError as error:
            ours = scope.expired() and isinstance(error.__cause__, asyncio.CancelledError)
            if not ours:  # raised by the work itself
                raise
        raise DeadlineExceeded(f"not done within {us} us")

    def latch(self) -> AsyncioLatch:
        return AsyncioLatch(self._loop)

    def limiter(self, capacity: int) -> structured.FifoLimiter:
        return structured.FifoLimiter(capacity, self.latch)

    async def shutdown(self) -> int:
        """Cancel all jobs, wait until their clean-up is done, and say how many there were.

        Not to be awaited by one of the jobs themselves.
        """
        alive = sum(not job.done for job in self._alive)
        while self._alive:
            for job in self._alive:
                job.cancel()
            await asyncio.wait([job.task for job in self._alive])
        return alive

    def forget(self, job: AsyncioJob[Any]) -> None:
        """Told by a job that it has ended."""
        del self._alive[job]

    async def _at(self, at_us: int, work: Coroutine[Any, Any, T]) -> T:
        await self.sleep_until(at_us)
        return await work

    def _report(self, error: Exception) -> None:
        message = "a job failed and nobody awaited it"
        self._loop.call_exception_handler({"message": message, "exception": error})


# --------------------------------------------------------------------------- CPU time


class _Meter:
    """CPU time of the running thread, summed over the steps of a coroutine and its jobs, until it
    is ``read``: each end of a step costs a system call, and afterwards nobody would know."""

    __slots__ = ("read", "used_ns")

    def __init__(self) -> None:
        self.used_ns = 0
        self.read = False

    @types.coroutine
    def drive(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        resume: Callable[[Any], Any] = work.send
        argument: Any = None
        while True:
            started_ns = 0 if self.read else time.thread_time_ns()
            try:
                target = resume(argument)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                if not self.read:
                    self.used_ns += time.thread_time_ns() - started_ns
            try:
                resume, argument = work.send, (yield target)
            except BaseException as error:
                resume, argument = work.throw, error


_METER: ContextVar[_Meter | None] = ContextVar("meter", default=None)
"""Whose CPU time the running task uses. A task takes it over from the one that spawned it."""


async def _metered(meter: _Meter, work: Coroutine[Any, Any, T]) -> T:
    return await meter.drive(work)


async def measure_cpu(work: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """The result of ``work`` and the CPU time it used, in microseconds, rounded to nearest.

    Counts the steps of ``work`` and of the jobs it spawned, as far as they have got when it ends,
    by the clock of their thread; not what others do meanwhile. An error is raised as it is.
    """
    meter = _Meter()
    before = _METER.set(meter)
    try:
        result = await meter.drive(work)
    finally:
        meter.read = True
        _METER.reset(before)
    return result, (meter.used_ns + 500) // 1_000
