"""A whole deployment in this process: one isolate over the stores that it is given.

This is what ``edgekpi serve`` runs without ``--emulate``: no modelled delay anywhere.
"""

from __future__ import annotations

import asyncio
import json
import resource
import secrets
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reference_impl.adapters.asyncio_runtime import AsyncioRuntime, measure_cpu
from reference_impl.adapters.d1_binding import DirectExecutor
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.adapters.stores import D1Store, Stores, open_kv, open_queue
from reference_impl.cache.l1 import L1Cache
from reference_impl.config import StackConfig
from reference_impl.http.app import AskOrigin, Call
from reference_impl.isolate.ingest import sweep_for_ever
from reference_impl.isolate.memory import IsolateMemory, MemorySizes
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Evidence, Response
from reference_impl.ports import D1Database, DeadLetters, KVNamespace, Message, Queue
from reference_impl.profiling.profiler import UNANSWERED, LatencyProfiler
from reference_impl.times import from_wall_us


@dataclass(slots=True)
class _Context:
    runtime: AsyncioRuntime
    kv: KVNamespace
    d1: D1Database
    queue: Queue
    profiler: LatencyProfiler
    evidence: Evidence = field(default_factory=Evidence)
    l1: L1Cache | None = None
    answered: bool = False

    def wait_until(self, work: Coroutine[Any, Any, Any]) -> None:
        self.runtime.spawn(work).task.add_done_callback(self._behind)

    def taken(self) -> Evidence:
        """The evidence so far; what comes from now on is that of the work behind the answer."""
        self.answered = True
        evidence, self.evidence = self.evidence, Evidence()
        return evidence

    def _behind(self, _task: asyncio.Task[Any]) -> None:
        if self.answered:
            self.profiler.behind(self.taken())


class EmbeddedDeployment:
    """One isolate; use inside a running event loop. It works off its queue once :meth:`start`
    has been called."""

    def __init__(
        self, runtime: AsyncioRuntime, stores: Stores, config: StackConfig, memory: MemorySizes
    ) -> None:
        self._runtime = runtime
        self.stores = stores
        self._worker = Worker(self._runtime, config)
        self._instance = new_instance(1, self.wall_us())
        self._memory = IsolateMemory(self._worker.cache.l1, memory)
        self.profiler = LatencyProfiler(self._runtime.now_us, log_line)

    async def start(self, **settings: int) -> None:
        """Consume the queue, first what an earlier process left in it; ``settings`` are those of
        :meth:`SqliteQueue.consume`."""
        await self.stores.queue.consume(self._consume, **settings)
        self._runtime.spawn(sweep_for_ever(self._runtime, self._sweep))

    async def invoke(self, call: Call, _origin: AskOrigin) -> tuple[Response, Evidence]:
        """Run ``call`` in the one isolate; CPU time is what its own steps took."""
        ctx = self._context()
        started_us = self._runtime.now_us()
        route, status = UNANSWERED, 500
        self._memory.enter()
        try:
            response, ctx.evidence.cpu_us = await measure_cpu(call(self._worker, ctx))
            route, status = response.route, response.status
        finally:
            self._memory.leave()
            duration_us = self._runtime.now_us() - started_us
            evidence = ctx.taken()
            self.profiler.request(route, status, duration_us, evidence)
        return response, evidence

    @property
    def dead_letters(self) -> DeadLetters:
        """Those of the queue."""
        return self.stores.queue

    def instance(self) -> Mapping[str, Any]:
        """This process, until it ends."""
        return self._instance

    def statistics(self) -> Mapping[str, Any]:
        """Memory as accounted, the process, the queue, and what KV did not answer."""
        queue, l2 = self.stores.queue, self._worker.cache.l2.get_stats()
        errors = {name: l2[name] for name in ("read_errors", "write_errors", "list_errors")}
        circuit = self.stores.kv.circuit
        return {
            "memory_max_bytes": self._memory.max_bytes,
            "process_rss_bytes": process_rss_bytes(),
            "queue": {"undelivered": queue.undelivered, "dead": queue.dead_count},
            "kv": {**errors, "circuit": circuit and circuit.state},
            "ingest": self._worker.ingest.counts(),
        }

    def now_us(self) -> int:
        """Monotonic time."""
        return self._runtime.now_us()

    def wall_us(self) -> int:
        """The time of day."""
        return self._runtime.wall_us()

    def _context(self) -> _Context:
        stores = self.stores
        return _Context(self._runtime, stores.kv, stores.d1, stores.queue, self.profiler)

    async def _sweep(self) -> None:
        ctx = self._context()
        try:
            await self._worker.sweep(ctx)
        finally:
            self.profiler.behind(ctx.taken())

    async def _consume(self, messages: Sequence[Message]) -> set[str]:
        ctx = self._context()
        started_us = self._runtime.now_us()
        failed = {message.id for message in messages}
        try:
            failed = await self._worker.consume(ctx, messages)
        finally:
            now_us = self._runtime.now_us()
            self.profiler.batch(now_us - started_us, ctx.taken(), failed=bool(failed))
        for message in messages:
            if message.id not in failed:
                self.profiler.stored(now_us - message.accepted_us)
        return failed


def new_instance(isolates: int, wall_us: int) -> Mapping[str, Any]:
    """A name that no other process or earlier start has, for who collects from several."""
    return {"id": secrets.token_hex(4), "isolates": isolates, "since": from_wall_us(wall_us)}


async def embedded_deployment(
    engine: SqliteEngine, config: StackConfig, **queue: int
) -> EmbeddedDeployment:
    """A deployment on ``engine`` with KV and queue in memory, started."""
    runtime = AsyncioRuntime()
    d1 = D1Store(DirectExecutor(engine))
    stores = Stores(await open_kv(), d1, await open_queue(runtime=runtime))
    deployment = EmbeddedDeployment(runtime, stores, config, MemorySizes(base=0, request=0))
    await deployment.start(**queue)
    return deployment


def log_line(line: Mapping[str, Any]) -> None:
    """One structured line of the profiler, as JSON on stderr."""
    print(json.dumps(line), file=sys.stderr, flush=True)


def process_rss_bytes() -> int:
    """The most memory this process has held; the unit of ``ru_maxrss`` differs by system."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
