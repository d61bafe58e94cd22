"""Memory of the embedded deployment over a million requests: it must stop growing.

Nine look-ups in ten, of 19,785 conversions and of others that do not exist, and one event in ten;
events are not kept (each repeats one of a thousand), so that the database does not grow either.
Run ``python -m benchmarks.memory [REQUESTS]``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import psutil

from reference_impl.adapters.embedded import embedded_deployment
from reference_impl.http.app import Origin
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, Response
from scenarios.journeys import load_population
from scenarios.loader import load
from scenarios.requests import event_of
from scenarios.stack import stack_config
from sim.prepare import load_engine

STEPS = 10


def main() -> None:
    """Print process memory and requests a second after each tenth."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    asyncio.run(_run(requests))


async def _run(requests: int) -> None:
    scenario = load("steady/baseline")
    population = load_population(scenario.data)
    engine = load_engine(scenario, population)
    deployment = await embedded_deployment(
        engine, stack_config(scenario), batch_size=10, batch_timeout_us=5_000_000
    )
    process = psutil.Process()
    print(f"{'requests':>12} {'MiB':>8} {'requests/s':>12}")
    for step in range(STEPS):
        started = time.perf_counter()
        for number in range(step * requests // STEPS, (step + 1) * requests // STEPS):
            await deployment.invoke(_call(number, population.conversions), Origin)
        rate = requests / STEPS / (time.perf_counter() - started)
        done = (step + 1) * requests // STEPS
        print(f"{done:12,} {process.memory_info().rss / 2**20:8.1f} {rate:12,.0f}", flush=True)


def _call(number: int, conversions: Any) -> Any:
    async def track(worker: Worker, ctx: Context) -> Response:
        event = event_of(conversions, "memory", number % 1000, number % 1000, False, 0)
        return await worker.track(ctx, event)

    async def look_up(worker: Worker, ctx: Context) -> Response:
        key = number * 7919 % (len(conversions) * 5 // 4)
        known = key < len(conversions)
        conversion_id = conversions[key].conversion_id if known else f"unknown-{key}"
        return await worker.attribution(ctx, conversion_id, "linear")

    return track if number % 10 == 0 else look_up


if __name__ == "__main__":
    main()
