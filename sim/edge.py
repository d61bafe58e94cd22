"""Edge nodes and the isolates in them: where invocations run, wait for CPU and hold memory."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.config import StackConfig
from reference_impl.isolate_memory import IsolateMemory
from reference_impl.ports import Runtime
from reference_impl.worker import Worker
from scenarios.stack import memory_sizes
from scenarios.world import Edge
from sim.invocation import Invocation
from sim.kv import KVNodeCache


class Isolate:
    """One isolate: its own stack, one thread, an account of its memory.

    ``asked_us`` is the work that its thread was asked for so far, ``free_at_us`` when that is done.
    """

    def __init__(self, runtime: Runtime, config: StackConfig, edge: Edge) -> None:
        self.worker = Worker(runtime, config)
        self.memory = IsolateMemory(self.worker.cache.l1, memory_sizes(edge))
        self.free_at_us = 0
        self.asked_us = 0

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
