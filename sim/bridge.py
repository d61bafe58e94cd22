"""SimPy behind the Runtime port: the same coroutines, in virtual time.

This is the only file that knows SimPy. Three things are ours and not SimPy's:

- *The driver.* A job is a coroutine whose steps are callbacks of SimPy events. ``simpy.Process``
  needs an event to start, one to end and rebuilds errors from their ``args``; a job starts with
  the event that also brings it to its time, ends without an event when nobody waits, and hands
  its error over as it is.
- *Cancellation.* :class:`Cancelled` is a ``BaseException`` as in asyncio, so that code with
  ``except Exception`` behaves the same on both runtimes.
- *The end.* :meth:`SimRuntime.shutdown` cancels what still runs at the horizon. Left alone, such
  coroutines would run their ``finally`` blocks when Python collects them.

Time is whole microseconds and never a float; equal times are served first in, first out, but a
cancellation goes before everything else of its instant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from simpy import Environment, Event, Timeout
from simpy.events import URGENT

from reference_impl import structured
from reference_impl.ports import DeadlineExceeded

T = TypeVar("T")

#: 2026-01-01T00:00:00Z, the instant up to which the bundled journeys reach.
START_WALL_US = 1_767_225_600_000_000

#: Awaits a clean-up may make at the horizon before we say that it never ends.
_MAX_AWAITS_AT_END = 1_000


class Cancelled(BaseException):
    """Raised inside a job that was cancelled; derives from ``BaseException`` on purpose."""


def _reraise(error: Exception) -> NoReturn:
    raise error


def _not_whole(us: object) -> TypeError:
    return TypeError(f"time is a whole number of microseconds (int), not {us!r}")


class _Sleep(Timeout):
    """A SimPy timeout that a coroutine can await as it is: a wrapper would cost a third more."""

    def __await__(self) -> Generator[Event, None, None]:
        if self.callbacks is not None:
            yield self


class _Throw(Event):
    """An event that resumes a job with ``error`` instead of a value; SimPy lets it pass."""

    def __init__(self, env: Environment, error: BaseException) -> None:
        super().__init__(env)
        self._ok = False
        self._defused = True
        self._value = error


class _Outcome:
    """A value or an error that comes once, and those who wait for it.

    Fields start as class attributes: a job is made per request, most never change theirs, and
    this is 4 % of a request faster than setting them (or slots).
    """

    _env: Environment
    _settled = False
    _value: Any = None
    _error: BaseException | None = None
    _trace: TracebackType | None = None
    _signal: Event | None = None  # made when the first waiter comes

    def _settle(self, value: Any, error: BaseException | None) -> bool:
        """Keep the outcome and wake the waiters with one event; False if there are none."""
        self._settled = True
        self._value = value
        if error is not None:
            self._error, self._trace = error, error.__traceback__
        if self._signal is None or not self._signal.callbacks:
            return False
        self._signal.succeed()
        return True

    def __await__(self) -> Generator[Event, None, Any]:
        if not self._settled:
            if self._signal is None:
                self._signal = Event(self._env)
            yield self._signal
        if self._error is not None:
            # The very same error for every waiter, without the frames of the waiters before.
            raise self._error.with_traceback(self._trace)
        return self._value


class SimLatch(_Outcome):
    """:class:`ports.Latch`; waiting for one that is set costs no event."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    @property
    def is_set(self) -> bool:
        return self._settled

    def set(self, value: Any = None) -> None:
        self._once(value, None)

    def fail(self, error: Exception) -> None:
        self._once(None, error)

    def wait(self) -> SimLatch:
        return self

    def _once(self, value: Any, error: Exception | None) -> None:
        if self._settled:
            raise RuntimeError("the latch is set already")
        self._settle(value, error)


class SimJob(_Outcome, Generic[T]):
    """:class:`ports.Job`: a coroutine, resumed by the callbacks of the event it waits for."""

    #: Requests to cancel so far, less those that a deadline took back.
    cancels = 0
    _cancel_sent = False

    def __init__(self, runtime: SimRuntime, work: Coroutine[Any, Any, T], start: Event) -> None:
        self._env = runtime.env
        self._runtime = runtime
        self._work = work
        self._send = work.send
        self._target = start
        start.callbacks.append(self._step)

    @property
    def done(self) -> bool:
        return self._settled

    def cancel(self) -> None:
        if self._settled:
            return
        self.cancels += 1
        if not self._cancel_sent:
            self._cancel_sent = True
            order = _Throw(self._env, Cancelled())
            order.callbacks.append(self._interrupt)
            self._env.schedule(order, URGENT)

    def abort(self) -> None:
        """Cancel at once, and again at every await of the clean-up: the clock has stopped.

        Raises:
            RuntimeError: the clean-up goes on awaiting for ever.
        """
        for _ in range(_MAX_AWAITS_AT_END):
            self._interrupt(_Throw(self._env, Cancelled()))
            if self._settled:
                return
        self._end(None, RuntimeError(f"{self._work} goes on awaiting after it was cancelled"))

    def _interrupt(self, order: Event) -> None:
        """Leave the event waited for, so that it wakes nobody later, and step with an error."""
        if self._settled:
            return
        self._cancel_sent = False
        if self._target.callbacks is not None:
            self._target.callbacks.remove(self._step)
        self._step(order)

    def _step(self, event: Event) -> None:
        """Run the coroutine up to its next await. The hot path of every simulation."""
        self._runtime.current = self
        try:
            target = self._send(None) if event._ok else self._work.throw(event._value)
        except StopIteration as stop:
            self._end(stop.value, None)
        except (Exception, Cancelled) as error:
            self._end(None, error)
        except BaseException as error:  # KeyboardInterrupt and the like end the run as well
            self._end(None, error)
            raise
        else:
            self._target = target
            try:
                target.callbacks.append(self._step)
            except AttributeError:
                self._refuse(target)

    def _refuse(self, target: object) -> None:
        message = (
            f"a simulated job cannot wait for {target!r}; only what its Runtime hands out can be"
            " awaited (sleep, job, latch, limiter, gather, deadline)"
        )
        self._step(_Throw(self._env, TypeError(message)))

    def _end(self, value: T | None, error: BaseException | None) -> None:
        self._runtime.forget(self)
        awaited = self._settle(value, error)
        if isinstance(error, Exception) and not awaited:
            self._runtime.on_error(error)


class _Deadline(Timeout):
    """The one event of :meth:`SimRuntime.deadline`; cancels ``job`` when it comes."""

    def __init__(self, env: Environment, us: int, job: SimJob[Any]) -> None:
        super().__init__(env, us)
        self.callbacks.append(self._expire)
        self._job = job
        self._cancels_before = job.cancels
        self._expired = False

    def _expire(self, _: Event) -> None:
        self._expired = True
        self._job.cancel()

    @property
    def alone(self) -> bool:
        """This deadline expired, and nobody else asked the job to stop meanwhile."""
        return self._expired and self._job.cancels == self._cancels_before + 1

    def close(self) -> None:
        if self._expired:
            self._job.cancels -= 1
        else:
            self.callbacks.clear()


class SimRuntime:
    """:class:`ports.Runtime` in virtual time.

    Args:
        env: the SimPy environment to run in; a new one that starts at 0 if left out.
        start_wall_us: the wall clock when the virtual clock shows 0.
        on_error: gets the error of a job that nobody awaits at the moment it fails; unless given,
            :meth:`run` stops and raises it.
    """

    punctual: ClassVar[bool] = True

    def __init__(
        self,
        env: Environment | None = None,
        *,
        start_wall_us: int = START_WALL_US,
        on_error: Callable[[Exception], None] = _reraise,
    ) -> None:
        self.env = Environment() if env is None else env
        self.on_error = on_error
        self.current: SimJob[Any] | None = None
        self._start_wall_us = start_wall_us
        self._alive: dict[SimJob[Any], None] = {}  # a set would have no order
        self._past = SimLatch(self.env)
        self._past.set()

    def now_us(self) -> int:
        return self.env.now  # type: ignore[return-value]  # whole, as every delay is

    def wall_us(self) -> int:
        return self._start_wall_us + self.now_us()

    def sleep(self, us: int) -> _Sleep:
        """One event, for zero or less too.

        Raises:
            TypeError: ``us`` is no ``int``: a fraction, or a NumPy number that would slow down
                every comparison of times from then on.
        """
        if type(us) is not int:
            raise _not_whole(us)
        return _Sleep(self.env, us if us > 0 else 0)

    def sleep_until(self, at_us: int) -> Awaitable[None]:
        """One event, none if ``at_us`` is past. Raises as :meth:`sleep`."""
        left_us = at_us - self.now_us()
        return self.sleep(left_us) if left_us > 0 else self._past

    def spawn(self, work: Coroutine[Any, Any, T], *, at_us: int | None = None) -> SimJob[T]:
        """Start ``work``; the event that starts it is all that a job costs by itself.

        Raises:
            TypeError: ``work`` is no coroutine, for example a function that was not called.
        """
        if not hasattr(work, "send"):
            raise TypeError(f"spawn takes a coroutine, not {work!r}; was the function called?")
        start = self.sleep(0 if at_us is None else at_us - self.now_us())
        job = SimJob(self, work, start)
        self._alive[job] = None
        return job

    def gather(
        self, works: Iterable[Coroutine[Any, Any, T]], limit: int | None = None
    ) -> Coroutine[Any, Any, list[T]]:
        return structured.gather(self, works, limit)

    async def deadline(self, work: Coroutine[Any, Any, T], us: int) -> T:
        """Runs ``work`` within the caller's job: one event, and no job besides.

        A cancellation from outside in the same instant wins, as it does in ``asyncio.timeout``.
        """
        assert self.current is not None, "only a job can await"
        if type(us) is not int:
            raise _not_whole(us)
        timer = _Deadline(self.env, max(us, 0), self.current)
        try:
            return await work
        except Cancelled:
            if timer.alone:
                raise DeadlineExceeded(f"not done within {us} us") from None
            raise
        finally:
            timer.close()

    def latch(self) -> SimLatch:
        return SimLatch(self.env)

    def limiter(self, capacity: int) -> structured.FifoLimiter:
        return structured.FifoLimiter(capacity, self.latch)

    def run(self, until_us: int | None = None) -> None:
        """Run up to ``until_us``, what is due at that very instant left out; or to the last event.

        A sleep or deadline that was given up stays on the calendar without effect, so the clock
        may stand later than the last thing that happened.

        Raises:
            ValueError: ``until_us`` is not after the present.
            Exception: what ``on_error`` raises, by default the error of the job.
        """
        self.env.run(until=until_us)

    def shutdown(self) -> int:
        """End all jobs, in the order they were spawned, and say how many there were.

        Time stands still: a clean-up that awaits is cancelled at that await again. Afterwards
        no coroutine is left whose ``finally`` could run when it is collected.

        Raises:
            Exception: the first that ``on_error`` raised, after all jobs have ended.
        """
        alive = len(self._alive)
        errors: list[Exception] = []
        while self._alive:
            try:
                next(iter(self._alive)).abort()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return alive

    def forget(self, job: SimJob[Any]) -> None:
        """Told by a job that it has ended."""
        del self._alive[job]
