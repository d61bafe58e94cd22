"""A whole deployment in this process: one isolate, KV on fakeredis, D1 on SQLite, its queue.

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
from reference_impl.adapters.batch_queue import BatchQueue
from reference_impl.adapters.redis_kv import embedded_kv
from reference_impl.adapters.sqlite import D1Binding, DirectExecutor, SqliteEngine
from reference_impl.config import StackConfig
from reference_impl.http import Call, Origin
from reference_impl.ingest import sweep_for_ever
from reference_impl.l1 import L1Cache
from reference_impl.messages import Evidence, Response
from reference_impl.ports import D1Database, KVNamespace, Message, Queue
from reference_impl.profiler import UNANSWERED, LatencyProfiler
from reference_impl.times import from_wall_us
from reference_impl.worker import Worker


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
    """One isolate over embedded stores; use inside a running event loop."""

    def __init__(
        self, engine: SqliteEngine, config: StackConfig, *, batch_size: int, batch_timeout_us: int
    ) -> None:
        self._runtime = AsyncioRuntime()
        self._kv = embedded_kv()
        self._d1 = D1Binding(DirectExecutor(engine))
        self._queue = BatchQueue(
            self._runtime, self._consume, batch_size=batch_size, batch_timeout_us=batch_timeout_us
        )
        self._worker = Worker(self._runtime, config)
        self._instance = new_instance(1, self.wall_us())
        self.profiler = LatencyProfiler(self._runtime.now_us, log_line)
        self._runtime.spawn(sweep_for_ever(self._runtime, self._sweep))

    async def invoke(self, call: Call, _origin: Origin) -> tuple[Response, Evidence]:
        """Run ``call`` in the one isolate; CPU time is what its own steps took."""
        ctx = self._context()
        started_us = self._runtime.now_us()
        route, status = UNANSWERED, 500
        try:
            response, ctx.evidence.cpu_us = await measure_cpu(call(self._worker, ctx))
            route, status = response.route, response.status
        finally:
            duration_us = self._runtime.now_us() - started_us
            evidence = ctx.taken()
            self.profiler.request(route, status, duration_us, evidence)
        return response, evidence

    def instance(self) -> Mapping[str, Any]:
        """This process, until it ends."""
        return self._instance

    def statistics(self) -> Mapping[str, Any]:
        """Queue and process. What an isolate would hold on the platform is not known here."""
        return {
            "memory_max_bytes": None,
            "process_rss_bytes": process_rss_bytes(),
            "queue": {"undelivered": self._queue.undelivered, "dead": self._queue.dead_count},
            "ingest": self._worker.ingest.counts(),
        }

    def now_us(self) -> int:
        """Monotonic time."""
        return self._runtime.now_us()

    def wall_us(self) -> int:
        """The time of day."""
        return self._runtime.wall_us()

    def _context(self) -> _Context:
        return _Context(self._runtime, self._kv, self._d1, self._queue, self.profiler)

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


def log_line(line: Mapping[str, Any]) -> None:
    """One structured line of the profiler, as JSON on stderr."""
    print(json.dumps(line), file=sys.stderr, flush=True)


def process_rss_bytes() -> int:
    """The most memory this process has held; the unit of ``ru_maxrss`` differs by system."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
