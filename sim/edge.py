"""Edge nodes and the isolates in them: where invocations run, wait for CPU and hold memory."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from reference_impl.cache.l2 import L2Cache
from reference_impl.config import StackConfig
from reference_impl.isolate.memory import IsolateMemory
from reference_impl.isolate.worker import Worker
from reference_impl.ports import Runtime
from scenarios.stack import memory_sizes
from scenarios.world import Edge
from sim.invocation import Invocation
from sim.kv_tiers import KVNode

MIB = 1024 * 1024
NEVER_US = 2**62


class Isolate:
    """One isolate: its own stack, one thread, an account of its memory.

    ``asked_us`` is the work that its thread was asked for so far, ``free_at_us`` when that is done.
    """

    def __init__(self, runtime: Runtime, config: StackConfig, edge: Edge) -> None:
        self.worker = Worker(runtime, config)
        self.memory = IsolateMemory(self.worker.cache.l1, memory_sizes(edge))
        self._limit_bytes = round(edge.memory_limit_mib * MIB)
        self.free_at_us = 0
        self.asked_us = 0
        self.ends_us = NEVER_US
        self.asked_at_us = 0

    @property
    def exceeded(self) -> bool:
        """Whether it has ever held more than the platform lets it."""
        return self.memory.max_bytes > self._limit_bytes

    def enter(self, now_us: int) -> None:
        """One more invocation in flight."""
        self.memory.enter()
        self.asked_at_us = now_us

    def leave(self) -> None:
        """An invocation has ended."""
        self.memory.leave()

    def is_idle_since(self, us: int) -> bool:
        """Whether nothing runs here and nothing has come since ``us``."""
        return self.memory.in_flight == 0 and self.asked_at_us < us

    async def compute(self, inv: Invocation, now_us: int) -> None:
        """Let the CPU time of an invocation that has just come pass, after that of those who came
        before it."""
        cpu_us = inv.draws.cpu.us(inv.number)
        inv.evidence.cpu_us = cpu_us
        self.asked_us += cpu_us
        self.free_at_us = max(now_us, self.free_at_us) + cpu_us
        await inv.sleep(self.free_at_us - now_us)


Make = Callable[[], Isolate]
LifeUs = Callable[[int, int], int]
"""How long the isolate of a slot lives, by slot and how many there have been."""


class IsolatePool:
    """The isolates of one node. Requests take turns over them by their numbers.

    An isolate is followed by a fresh one, with a cold start and an empty L1, when its life is
    over, when it was idle too long, or when it exceeded its memory; what is in flight in it
    finishes. ``warm`` ones are there at ``zero_us`` already.
    """

    def __init__(
        self, make: Make, edge: Edge, size: int, life_us: LifeUs, *, warm: bool, zero_us: int = 0
    ) -> None:
        self._make = make
        self._life_us = life_us
        self._idle_us = None if edge.isolate_idle_s is None else round(edge.isolate_idle_s * 1e6)
        self._slots: list[Isolate | None] = [None] * size
        self._generations = [0] * size
        self.caches: list[L2Cache] = []
        self.cold_starts = self.ended = self.exceeded = 0
        self._gone_max_bytes = 0
        self._gone_asked_us = [0] * size
        if warm:
            for slot in range(size):
                self._fill(slot, zero_us)

    @property
    def size(self) -> int:
        """How many there may be at once."""
        return len(self._slots)

    @property
    def isolates(self) -> list[Isolate]:
        """Those that are there now."""
        return [isolate for isolate in self._slots if isolate is not None]

    @property
    def memory_max_bytes(self) -> int:
        """The most memory that any of them has held."""
        present = (isolate.memory.max_bytes for isolate in self.isolates)
        return max(self._gone_max_bytes, *present, 0)

    def asked_us(self) -> list[int]:
        """The work asked for so far at each place, whichever isolates were there."""
        return [
            gone_us + (0 if isolate is None else isolate.asked_us)
            for gone_us, isolate in zip(self._gone_asked_us, self._slots, strict=True)
        ]

    def take(self, inv: Invocation, now_us: int) -> Isolate:
        """The isolate that an invocation meets when it arrives."""
        slot = inv.number % len(self._slots)
        isolate = self._slots[slot]
        if isolate is not None:
            if not (isolate.exceeded or self._is_over(isolate, now_us)):
                return isolate
            self._retire(slot, isolate)
        fresh = self._fill(slot, now_us)
        fresh.free_at_us = now_us + inv.draws.cold_start.us(inv.number)
        self.cold_starts += 1
        return fresh

    def _fill(self, slot: int, now_us: int) -> Isolate:
        isolate = self._slots[slot] = self._make()
        isolate.asked_at_us = now_us
        isolate.ends_us = now_us + self._life_us(slot, self._generations[slot])
        self._generations[slot] += 1
        self.caches.append(isolate.worker.cache.l2)
        return isolate

    def _is_over(self, isolate: Isolate, now_us: int) -> bool:
        if now_us >= isolate.ends_us:
            return True
        return self._idle_us is not None and isolate.is_idle_since(now_us - self._idle_us)

    def _retire(self, slot: int, isolate: Isolate) -> None:
        self._gone_asked_us[slot] += isolate.asked_us
        self._gone_max_bytes = max(self._gone_max_bytes, isolate.memory.max_bytes)
        if isolate.exceeded:
            self.exceeded += 1
        else:
            self.ended += 1


class EdgeNode(NamedTuple):
    """One data centre: its copies of KV entries and its isolates."""

    name: str
    kv: KVNode
    pool: IsolatePool


def isolates_for(edge: Edge, requests_per_s: float) -> int:
    """How many isolates a node has at this load, unless the scenario says so itself."""
    if edge.isolates_per_node is not None:
        return edge.isolates_per_node
    wanted = ceil(requests_per_s / edge.requests_per_isolate_per_s)
    return min(max(wanted, 1), edge.max_isolates_per_node)
