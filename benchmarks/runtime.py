"""The SimPy bridge beside bare SimPy: what awaiting through the port costs.

Run with ``make bench``, or ``python -m benchmarks.runtime [ROUNDS]`` in the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import simpy

from benchmarks.rounds import compare, table
from sim.bridge import SimRuntime
from sim.simulate import LAID_OUT

SLEEPS = 200_000
REQUESTS = 64_000


def main() -> None:
    """Print sleeps a second, then one-sleep requests a second."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    sleeps = compare({"SimPy generator": bare_sleeps, "coroutine, port": _sleeps}, rounds)
    print(table(sleeps, "sleeps/s"), end="\n\n")
    requests = compare({"SimPy process": _bare_requests, "job, port": _requests}, rounds)
    print(table(requests, "requests/s"))


def bare_sleeps() -> float:
    """One SimPy process that sleeps, an event each time."""
    env = simpy.Environment()

    def work() -> Generator[Any, Any, None]:
        for _ in range(SLEEPS):
            yield env.timeout(1)

    env.process(work())
    env.run()
    return SLEEPS


def _sleeps() -> float:
    runtime = SimRuntime()

    async def work() -> None:
        for _ in range(SLEEPS):
            await runtime.sleep(1)

    runtime.spawn(work())
    runtime.run()
    return SLEEPS


def _bare_requests() -> float:
    env = simpy.Environment()

    def request() -> Generator[Any, Any, None]:
        yield env.timeout(5)

    def arrivals() -> Generator[Any, Any, None]:
        for _ in range(REQUESTS):
            yield env.timeout(1)
            env.process(request())

    env.process(arrivals())
    env.run()
    return REQUESTS


def _requests() -> float:
    runtime = SimRuntime()

    async def request() -> None:
        await runtime.sleep(5)

    async def arrivals() -> None:
        for first_us in range(1, REQUESTS + 1, LAID_OUT):
            await runtime.sleep_until(first_us)
            for at_us in range(first_us, first_us + LAID_OUT):
                runtime.spawn(request(), at_us=at_us)

    runtime.spawn(arrivals())
    runtime.run()
    return REQUESTS


if __name__ == "__main__":
    main()
