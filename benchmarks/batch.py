"""Conversions a second through the batch processor, beside one conversion a call.

The conversions and journeys are the public ones. First the machine's own time: asyncio on a real
SQLite and a KV that holds nothing, neither with any delay, so this is what the code itself takes.
Then virtual time on the simulator's runtime, where each D1 call takes 40 ms and each KV operation
10 ms, so this is what the round trips leave of it.
Run ``python -m benchmarks.batch [ROUNDS]``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.rounds import compare, table
from reference_impl.adapters.asyncio_runtime import AsyncioRuntime
from reference_impl.adapters.d1_binding import D1Binding, DirectExecutor
from reference_impl.adapters.kv_reads import KVReads
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.cache.l1 import L1Cache
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.isolate.batch import BatchAttributionProcessor
from reference_impl.messages import Context, Evidence
from reference_impl.ports import D1Database, D1Result, KVEntry, KVList, KVNamespace, Queue, Runtime
from scenarios.journeys import load_population
from scenarios.loader import load
from sim.bridge import SimRuntime
from sim.prepare import load_engine

MODEL = "linear"
CONVERSIONS = 5000
SINGLY = 200
"""Conversions of the virtual run one at a time; it takes 90 ms of virtual time for each."""

D1_US, KV_US = 40_000, 10_000


class _EmptyKV(KVReads):
    """Holds nothing; an operation takes ``delay_us`` of the runtime's time."""

    def __init__(self, runtime: Runtime, delay_us: int) -> None:
        self._runtime, self._delay_us = runtime, delay_us

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        await self._pass()
        return KVEntry(None)

    async def put(self, key: str, value: str | bytes, *_args: Any, **_kwargs: Any) -> None:
        await self._pass()

    async def delete(self, key: str) -> None:
        await self._pass()

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        return KVList((), True)

    async def _pass(self) -> None:
        if self._delay_us:
            await self._runtime.sleep(self._delay_us)


class _DelayedExecutor:
    """The real engine, ``D1_US`` away."""

    def __init__(self, runtime: Runtime, engine: SqliteEngine) -> None:
        self._runtime, self._engine = runtime, engine

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        await self._runtime.sleep(D1_US)
        return [execution.result() for execution in self._engine.execute(commands)]


class _NoQueue:
    async def send(self, body: Any) -> None: ...

    async def send_batch(self, bodies: Any) -> None: ...


@dataclass(slots=True)
class _Context:
    runtime: Runtime
    kv: KVNamespace
    d1: D1Database
    queue: Queue = field(default_factory=_NoQueue)
    evidence: Evidence = field(default_factory=Evidence)
    l1: L1Cache | None = None

    def wait_until(self, work: Coroutine[Any, Any, Any]) -> None:
        self.runtime.spawn(work)


Work = Callable[[BatchAttributionProcessor, Context], Coroutine[Any, Any, None]]


def main() -> None:
    """Print both tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    scenario = load("steady/baseline")
    population = load_population(scenario.data)
    engine = load_engine(scenario, population)
    ids = [conversion.conversion_id for conversion in population.conversions][:CONVERSIONS]
    cases = {
        "one conversion a call": lambda: _timed(engine, _one_by_one(ids), CONVERSIONS),
        "batches of 50, 5 at once": lambda: _timed(engine, _in_batches(ids, 1), CONVERSIONS),
        "the same twice: half from the cache": lambda: _timed(
            engine, _in_batches(ids, 2), 2 * CONVERSIONS
        ),
    }
    print(f"{CONVERSIONS} conversions, model {MODEL}, no delays (asyncio), {rounds} rounds")
    print(table(compare(cases, rounds), "conversions/s"))
    print(f"\nvirtual time, D1 {D1_US // 1000} ms, KV {KV_US // 1000} ms")
    for title, some, work in (
        ("one conversion a call", ids[:SINGLY], _one_by_one(ids[:SINGLY])),
        ("batches of 50, 5 at once", ids, _in_batches(ids, 1)),
    ):
        print(f"{title:44} {_virtual(engine, work, len(some)):14,.0f} conversions/s")


def _one_by_one(ids: Sequence[str]) -> Work:
    async def work(processor: BatchAttributionProcessor, ctx: Context) -> None:
        for each in ids:
            (result,) = await processor.process_batch(ctx, [each], MODEL)
            assert result.error is None

    return work


def _in_batches(ids: Sequence[str], times: int) -> Work:
    async def work(processor: BatchAttributionProcessor, ctx: Context) -> None:
        for _ in range(times):
            results = await processor.process_batch(ctx, ids, MODEL)
            assert all(result.error is None for result in results)

    return work


def _processor(runtime: Runtime) -> BatchAttributionProcessor:
    """One with empty caches."""
    config = StackConfig()
    return BatchAttributionProcessor(
        runtime, CacheManager(runtime, config), QueryOptimizer(runtime)
    )


def _timed(engine: SqliteEngine, work: Work, done: int) -> float:
    async def run() -> None:
        runtime = AsyncioRuntime()
        ctx = _Context(runtime, _EmptyKV(runtime, 0), D1Binding(DirectExecutor(engine)))
        await work(_processor(runtime), ctx)

    asyncio.run(run())
    return done


def _virtual(engine: SqliteEngine, work: Work, done: int) -> float:
    """Conversions a second of virtual time."""
    runtime = SimRuntime()
    executor = _DelayedExecutor(runtime, engine)
    ctx = _Context(runtime, _EmptyKV(runtime, KV_US), D1Binding(executor))
    ended_us: list[int] = []

    async def run() -> None:
        await work(_processor(runtime), ctx)
        ended_us.append(runtime.now_us())

    runtime.spawn(run())
    runtime.run()
    return done / ended_us[0] * 1e6


if __name__ == "__main__":
    main()
