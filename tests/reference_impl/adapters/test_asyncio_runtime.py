"""What the asyncio runtime promises beyond the contract: clock, CPU time, its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from reference_impl.adapters.asyncio_runtime import AsyncioRuntime, measure_cpu
from tests.contracts.virtual_loop import VirtualLoop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], loop: type[VirtualLoop] = VirtualLoop) -> T:
    """Run ``main`` in virtual time."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)


# --------------------------------------------------------------------------- clock


class HastyLoop(VirtualLoop):
    """Fires each timer 300 us early, as loops that round to milliseconds do."""

    def call_at(self, when: float, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # passes on whatever it gets
        return super().call_at(max(when - 0.0003, self.time() + 1e-6), *args, **more)


def test_sleep_never_ends_early() -> None:
    """A loop that wakes us early is asked again until the time has come."""

    async def main() -> int:
        runtime = AsyncioRuntime()
        before_us = runtime.now_us()
        await runtime.sleep(5_000)
        return runtime.now_us() - before_us

    assert run(main(), HastyLoop) == 5_000


def test_a_cancelled_sleep_leaves_no_timer() -> None:
    """The loop's calendar does not fill with sleeps that were given up."""

    async def long_sleep(runtime: AsyncioRuntime) -> None:
        await runtime.sleep(1_000_000)

    async def main() -> list[bool]:
        runtime = AsyncioRuntime()
        loop: Any = asyncio.get_running_loop()
        jobs = [runtime.spawn(long_sleep(runtime)) for _ in range(5)]
        await runtime.sleep(1)
        for job in jobs:
            job.cancel()
        await runtime.sleep(1)
        return [timer.cancelled() for timer in loop._scheduled]

    assert all(run(main()))


def test_the_wall_clock_is_given() -> None:
    """The wall clock is an argument; left out, it is the system's, in microseconds."""

    async def main() -> tuple[int, int]:
        return AsyncioRuntime(wall_us=lambda: 42).wall_us(), AsyncioRuntime().wall_us()

    given_us, system_us = run(main())
    assert given_us == 42
    assert system_us > 1_700_000_000_000_000


# --------------------------------------------------------------------------- errors


def test_unawaited_errors_go_to_the_loop() -> None:
    """Without ``on_error``, the loop's own handler gets the very error, once."""
    error = ValueError("lost?")
    contexts: list[dict[str, Any]] = []

    async def at_fault() -> None:
        raise error

    async def main() -> None:
        runtime = AsyncioRuntime()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        runtime.spawn(at_fault())
        await runtime.sleep(1)

    run(main())
    assert [context["exception"] for context in contexts] == [error]


# --------------------------------------------------------------------------- the end


def test_shutdown_waits_for_clean_ups() -> None:
    """All jobs are cancelled and awaited, unstarted and newly spawned ones too, and counted."""
    ended: list[str] = []

    async def nap(runtime: AsyncioRuntime, name: str) -> None:
        try:
            await runtime.sleep(1_000)
        finally:
            await runtime.sleep(10)
            ended.append(name)

    async def spawns_at_its_end(runtime: AsyncioRuntime) -> None:
        try:
            await runtime.sleep(1_000)
        finally:
            runtime.spawn(nap(runtime, "child"))
            await runtime.sleep(1)

    async def main() -> tuple[int, int]:
        runtime = AsyncioRuntime()
        runtime.spawn(nap(runtime, "a"))
        runtime.spawn(nap(runtime, "unstarted"), at_us=runtime.now_us() + 500)
        runtime.spawn(spawns_at_its_end(runtime))
        await runtime.sleep(100)
        return await runtime.shutdown(), await runtime.shutdown()

    assert run(main()) == (3, 0)
    assert sorted(ended) == ["a", "child"]


def test_shutdown_ends_a_gather_whose_works_have_not_begun() -> None:
    """Works that are cancelled before their first step count as stopped, too."""

    async def never(runtime: AsyncioRuntime) -> None:
        await runtime.sleep(10**12)

    async def main() -> int:
        runtime = AsyncioRuntime()
        runtime.spawn(runtime.gather([never(runtime), never(runtime)]))
        await asyncio.sleep(0)
        return await runtime.shutdown()

    assert run(main()) == 3


# --------------------------------------------------------------------------- CPU time


class FakeCpu:
    """A CPU clock that moves only when work is done."""

    def __init__(self) -> None:
        self.now_ns = 0

    def thread_time_ns(self) -> int:
        return self.now_ns

    def work(self, us: int) -> None:
        self.now_ns += 1_000 * us


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> FakeCpu:
    fake = FakeCpu()
    monkeypatch.setattr(time, "thread_time_ns", fake.thread_time_ns)
    return fake


def test_cpu_time_counts_own_steps_only(cpu: FakeCpu) -> None:
    """Each coroutine is charged for its own steps, though all share one thread."""

    async def request(runtime: AsyncioRuntime, name: str, us: int) -> str:
        for _ in range(3):
            cpu.work(us)
            await runtime.sleep(us)
        cpu.work(7)
        return name

    async def main() -> list[tuple[str, int]]:
        runtime = AsyncioRuntime()
        return await runtime.gather(
            measure_cpu(request(runtime, name, us)) for name, us in (("a", 10), ("b", 1_000))
        )

    assert run(main()) == [("a", 37), ("b", 3_007)]


def test_cpu_time_is_rounded_once(cpu: FakeCpu) -> None:
    """Many steps below a microsecond add up before they are rounded."""

    async def small_steps(runtime: AsyncioRuntime) -> None:
        for _ in range(10):
            cpu.now_ns += 450
            await runtime.sleep(0)

    async def main() -> int:
        return (await measure_cpu(small_steps(AsyncioRuntime())))[1]

    assert run(main()) == 5  # 4,500 ns


def test_cpu_time_of_spawned_jobs_counts(cpu: FakeCpu) -> None:
    """What a request's own jobs use until it ends is its own; what they use later is not in it."""

    async def child(runtime: AsyncioRuntime, later_us: int) -> None:
        cpu.now_ns += 4_000
        await runtime.sleep(later_us)
        cpu.now_ns += 90_000

    async def request(runtime: AsyncioRuntime) -> None:
        cpu.now_ns += 1_000
        await runtime.gather(child(runtime, 10) for _ in range(2))
        runtime.spawn(child(runtime, 1_000))
        await runtime.sleep(5)

    async def main() -> int:
        runtime = AsyncioRuntime()
        _, cpu_us = await measure_cpu(request(runtime))
        await runtime.shutdown()
        return cpu_us

    assert run(main()) == 1 + 2 * (4 + 90) + 4


@pytest.mark.parametrize("end", ["error", "cancel"])
def test_measured_work_can_fail_and_be_cancelled(end: str) -> None:
    """Errors come out as they are; a cancellation reaches the work and its clean-up."""
    error = ValueError("as it is")
    steps: list[str] = []

    async def work(runtime: AsyncioRuntime) -> None:
        try:
            await runtime.sleep(50)
            raise error
        finally:
            await runtime.sleep(5)
            steps.append("cleaned up")

    async def main() -> BaseException | None:
        runtime = AsyncioRuntime()
        job = runtime.spawn(measure_cpu(work(runtime)))
        await runtime.sleep(20)
        if end == "cancel":
            job.cancel()
        try:
            await job
        except BaseException as raised:
            return raised
        return None

    raised = run(main())
    assert raised is error if end == "error" else isinstance(raised, asyncio.CancelledError)
    assert steps == ["cleaned up"]


# --------------------------------------------------------------------------- the test loop


@pytest.mark.parametrize("count", [1, 3])
def test_the_virtual_loop_tells_a_deadlock(count: int) -> None:
    """When every task waits and no timer is set, the test loop says so instead of hanging."""

    async def wait(latch: Callable[[], Any]) -> None:
        await latch().wait()

    async def main() -> None:
        runtime = AsyncioRuntime()
        await runtime.gather(wait(runtime.latch) for _ in range(count))

    with pytest.raises(RuntimeError, match="deadlock"):
        run(main())
