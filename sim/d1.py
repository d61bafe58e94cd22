"""D1 in the world: one single-threaded SQLite at a distance, priced by what SQLite did.

The statements run on a real database. Their service time is a base plus SQLite's virtual machine
steps at a calibrated price each; the single thread is a first-in-first-out server kept by
arithmetic; a commit waits for its copies without holding the thread.
https://developers.cloudflare.com/d1/platform/limits/
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from reference_impl.adapters.sqlite import Command, Execution, SqliteEngine
from reference_impl.ports import D1Error, D1Result, Runtime
from scenarios.world import D1
from sim.invocation import Invocation

TOO_MANY = "D1_ERROR: D1 DB is overloaded. Too many requests queued."
TOO_LONG = "D1_ERROR: D1 DB is overloaded. Requests queued for too long."


class D1Server:
    """The one thread that executes all statements of a database, in the order they arrive."""

    def __init__(self, runtime: Runtime, engine: SqliteEngine, settings: D1) -> None:
        self._runtime = runtime
        self._engine = engine
        self._settings = settings
        self._max_wait_us = round(settings.max_queue_wait_s * 1_000_000)
        self._free_at_us = 0
        self._ends_us: deque[int] = deque()
        self._served = self._refused = 0
        self.work_us = 0
        self.reads = self.writes = 0

    @property
    def free_at_us(self) -> int:
        """When all work that was taken is done."""
        return self._free_at_us

    @property
    def asked_us(self) -> int:
        """The work asked for so far: what was taken, and as much for each request refused."""
        return self.work_us * (self._served + self._refused) // max(self._served, 1)

    def refuse(self) -> None:
        """Note a request that was turned away."""
        self._refused += 1

    def wait_us(self, now_us: int) -> int:
        """How long a request that arrives now waits for the thread."""
        return max(0, self._free_at_us - now_us)

    def is_full(self, now_us: int) -> bool:
        """Whether as many requests wait or run as the database takes."""
        while self._ends_us and self._ends_us[0] <= now_us:
            self._ends_us.popleft()
        return len(self._ends_us) >= self._settings.max_queue_depth

    def waits_too_long(self, now_us: int) -> bool:
        """Whether a request that arrives now would wait longer than the database allows."""
        return self.wait_us(now_us) > self._max_wait_us

    @property
    def max_wait_us(self) -> int:
        """After so long in the queue a request is refused."""
        return self._max_wait_us

    def serve(self, now_us: int, commands: Sequence[Command]) -> tuple[list[Execution], list[int]]:
        """Execute for a request that arrives now; what was done, and the service time of each.

        Raises:
            D1Error: for a statement that fails; it takes a base time of the thread all the same.
        """
        starts_us = now_us + self.wait_us(now_us)
        try:
            executions = self._engine.execute(commands)
        except D1Error:
            self._hold(starts_us, self._settings.cost.base_us)
            raise
        service_us = [self._price_us(execution) for execution in executions]
        self._hold(starts_us, sum(service_us))
        reads = sum(execution.readonly for execution in executions)
        self.reads += reads
        self.writes += len(executions) - reads
        return executions, service_us

    def _hold(self, starts_us: int, work_us: int) -> None:
        self._free_at_us = starts_us + work_us
        self._ends_us.append(self._free_at_us)
        self._served += 1
        self.work_us += work_us

    def _price_us(self, execution: Execution) -> int:
        cost = self._settings.cost
        per_step = cost.read_ns_per_step if execution.readonly else cost.write_ns_per_step
        return cost.base_us + round(execution.vm_steps * per_step / 1000)


class D1Executor:
    """Runs the commands of one invocation: there, through the queue, and back."""

    __slots__ = ("_inv", "_server")

    def __init__(self, inv: Invocation, server: D1Server) -> None:
        self._inv = inv
        self._server = server

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        """The results, with the wait and the round trip in their ``meta``.

        Raises:
            D1Error: for a statement that fails, or when the database is overloaded.
        """
        inv, server, draws = self._inv, self._server, self._inv.draws
        use, inv.d1_uses = inv.d1_uses, inv.d1_uses + 1
        round_trip_us = draws.d1_rtt[inv.node.name].us(inv.number, use)
        back_us = round_trip_us // 2
        overhead_us = draws.d1_overhead.us(inv.number, use)
        await inv.sleep(overhead_us + round_trip_us - back_us)
        now_us = inv.now_us()
        if server.is_full(now_us):
            server.refuse()
            await inv.sleep(back_us)
            raise D1Error(TOO_MANY)
        if server.waits_too_long(now_us):
            server.refuse()
            await inv.sleep(server.max_wait_us + back_us)
            raise D1Error(TOO_LONG)
        wait_us = server.wait_us(now_us)
        try:
            executions, service_us = server.serve(now_us, commands)
        except D1Error:
            await inv.sleep(server.wait_us(now_us) + back_us)  # its own base is in there by now
            raise
        commit_us = draws.d1_commit.us(inv.number, use) if _writes(executions) else 0
        await inv.sleep(wait_us + sum(service_us) + commit_us + back_us)
        meta = {"wait_us": wait_us, "round_trip_us": overhead_us + round_trip_us}
        return [
            execution.result(duration=each_us / 1000, **meta)
            for execution, each_us in zip(executions, service_us, strict=True)
        ]


def _writes(executions: Sequence[Execution]) -> bool:
    return any(not execution.readonly for execution in executions)
