"""Runs a contract case on each runtime, and sees that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from reference_impl.adapters.asyncio_runtime import AsyncioRuntime, system_wall_us
from sim.bridge import Cancelled, SimRuntime
from tests.contracts.runtime_contract import Case, World
from tests.contracts.virtual_loop import VirtualLoop

Runner = Callable[[Case], World]

#: Long enough that a busy machine stays within a tick, short enough for a suite.
LIVE_TICK_US = 50_000
T = TypeVar("T")


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """No coroutine "was never awaited", no error "was never retrieved", once all is collected."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def on_sim(case: Case) -> World:
    """In SimPy's virtual time."""
    with nothing_left_behind():
        return _on_sim(case)


def _on_sim(case: Case) -> World:
    errors: list[Exception] = []
    ended: list[bool] = []
    failures: list[BaseException] = []
    runtime = SimRuntime(on_error=errors.append)
    world = World(runtime, Cancelled, 1_000, True, errors)

    async def main() -> None:
        try:
            await case(world)
        except BaseException as failure:
            failures.append(failure)
        ended.append(True)

    runtime.spawn(main())
    runtime.run()
    runtime.shutdown()
    if failures:
        raise failures[0]
    assert ended, "the case waits for something that never comes"
    return world


def on_virtual_loop(case: Case) -> World:
    """On asyncio, in the virtual time of our own loop."""
    with nothing_left_behind(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_on_asyncio(case, 1_000, exact=True))


def on_real_clock(case: Case) -> World:
    """On asyncio as it is. A case may collect garbage, and must not pay a tick for the whole
    suite's: what there is already is frozen."""
    gc.collect()
    gc.freeze()
    try:
        with nothing_left_behind(), asyncio.Runner() as runner:
            return runner.run(_on_asyncio(case, LIVE_TICK_US, exact=False))
    finally:
        gc.unfreeze()


async def _on_asyncio(case: Case, tick_us: int, *, exact: bool) -> World:
    errors: list[Exception] = []
    loop = asyncio.get_running_loop()

    def virtual_wall_us() -> int:
        return round(loop.time() * 1e6)

    wall_us = virtual_wall_us if exact else system_wall_us
    runtime = AsyncioRuntime(wall_us=wall_us, on_error=errors.append)
    world = World(runtime, asyncio.CancelledError, tick_us, exact, errors)
    await case(world)
    await runtime.shutdown()
    return world
