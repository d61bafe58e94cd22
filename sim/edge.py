"""Edge nodes and the isolates in them: where invocations run, wait for CPU and hold memory."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.config import StackConfig
from reference_impl.ports import Runtime
from reference_impl.worker import Worker
from scenarios.world import Edge
from sim.invocation import Invocation
from sim.kv import KVNodeCache


class Isolate:
    """One isolate: its own stack, one thread, an account of its memory.

    ``asked_us`` is the work that its thread was asked for so far, ``free_at_us`` when that is done.

    Memory is accounted, not measured: a base, what L1 holds, and a share for each invocation in
    flight. On the platform only "memory exceeded" can be seen.
    """

    def __init__(self, runtime: Runtime, config: StackConfig, edge: Edge) -> None:
        self.worker = Worker(runtime, config)
        self._base_bytes = round(edge.base_memory_mib * 1024 * 1024)
        self._request_bytes = round(edge.request_memory_kib * 1024)
        self._in_flight = 0
        self.free_at_us = 0
        self.asked_us = 0
        self.memory_max_bytes = self._base_bytes

    def enter(self) -> None:
        """One more invocation in flight."""
        self._in_flight += 1
        held = self.worker.cache.l1.size_bytes + self._in_flight * self._request_bytes
        self.memory_max_bytes = max(self.memory_max_bytes, self._base_bytes + held)

    def leave(self) -> None:
        """An invocation has ended."""
        self._in_flight -= 1

    async def compute(self, inv: Invocation) -> None:
        """Let the invocation's CPU time pass, after that of those who came before it."""
        cpu_us = inv.draws.cpu.us(inv.number)
        inv.evidence.cpu_us = cpu_us
        now_us = inv.now_us()
        self.asked_us += cpu_us
        self.free_at_us = max(now_us, self.free_at_us) + cpu_us
        await inv.sleep(self.free_at_us - now_us)


class EdgeNode:
    """One data centre: its isolates and its copies of KV entries."""

    def __init__(self, name: str, isolates: Sequence[Isolate], kv_cache: KVNodeCache) -> None:
        self.name = name
        self.isolates = isolates
        self.kv_cache = kv_cache

    def isolate(self, number: int) -> Isolate:
        """The isolate that request ``number`` meets; they take turns by their numbers."""
        return self.isolates[number % len(self.isolates)]
