"""The contract suite once more, on asyncio and the real clock."""

from __future__ import annotations

import asyncio

import pytest

import tests.contracts.deadline_contract
import tests.contracts.structured_contract  # noqa: F401  (both add their cases)
from reference_impl.adapters.asyncio_runtime import AsyncioRuntime, measure_cpu
from tests.contracts.runners import on_real_clock
from tests.contracts.runtime_contract import CASES, Case

pytestmark = pytest.mark.live


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract(case: Case) -> None:
    """Each case holds in real time; its ticks are long enough for a busy machine."""
    on_real_clock(case)


def test_sleep_never_ends_early() -> None:
    """Hundreds of short sleeps side by side: late by what the machine likes, early never."""

    async def overshoots_us() -> list[int]:
        runtime = AsyncioRuntime()

        async def sleeper(us: int) -> int:
            at_us = runtime.now_us() + us
            await runtime.sleep_until(at_us)
            return runtime.now_us() - at_us

        return await runtime.gather(sleeper(37 * number) for number in range(300))

    assert min(asyncio.run(overshoots_us())) >= 0


def test_cpu_time_leaves_out_waiting_and_others() -> None:
    """A coroutine that only sleeps is charged less than the work done beside it meanwhile."""

    async def waits(runtime: AsyncioRuntime) -> None:
        await runtime.sleep(50_000)

    async def works(runtime: AsyncioRuntime) -> int:
        return sum(range(1_000_000))

    async def main() -> tuple[int, int]:
        runtime = AsyncioRuntime()
        (_, idle_us), (_, busy_us) = await runtime.gather(
            [measure_cpu(waits(runtime)), measure_cpu(works(runtime))]
        )
        return idle_us, busy_us

    idle_us, busy_us = asyncio.run(main())
    assert idle_us < busy_us
