"""One D1 instance in the world: a single-threaded SQLite priced by what SQLite did.

The statements run on a real database. Their service time is a base plus SQLite's virtual machine
steps at a calibrated price each; the single thread is a first-in-first-out server kept by
arithmetic, and a stall of it moves its next start.
https://developers.cloudflare.com/d1/platform/limits/
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from reference_impl.adapters.sqlite import Command, Execution, SqliteEngine
from reference_impl.ports import D1Error, Runtime
from scenarios.services import D1

TOO_MANY = "D1_ERROR: D1 DB is overloaded. Too many requests queued."
TOO_LONG = "D1_ERROR: D1 DB is overloaded. Requests queued for too long."
TIMED_OUT = "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset."

Span = tuple[int, int]
"""From one instant to another, the second left out."""


class Served(NamedTuple):
    """What a request got from the thread: how long it waited for it, and each statement's time."""

    executions: list[Execution]
    wait_us: int
    service_us: list[int]


class D1Server:
    """The one thread that executes all statements of an instance, in the order they arrive."""

    def __init__(
        self,
        runtime: Runtime,
        engine: SqliteEngine,
        settings: D1,
        stalls: Sequence[Span] = (),
    ) -> None:
        self._runtime = runtime
        self.engine = engine
        self._settings = settings
        self._stalls = stalls
        self.max_wait_us = round(settings.max_queue_wait_s * 1_000_000)
        self._max_service_us = round(settings.query_timeout_s * 1_000_000)
        self._free_at_us = 0
        self._ends_us: deque[int] = deque()
        self._served = self._refused = 0
        self.work_us = 0
        self.reads = self.writes = 0
        self.used: dict[str, Used] = {}

    @property
    def free_at_us(self) -> int:
        """When all work that was taken is done."""
        return self._free_at_us

    @property
    def asked_us(self) -> int:
        """The work asked for so far: what was taken, and as much for each request refused."""
        return self.work_us * (self._served + self._refused) // max(self._served, 1)

    def wait_us(self, now_us: int) -> int:
        """How long a request that arrives now waits for the thread."""
        start_us = max(now_us, self._free_at_us)
        for from_us, until_us in self._stalls:
            if from_us <= start_us < until_us:
                start_us = until_us
        return start_us - now_us

    def is_full(self, now_us: int) -> bool:
        """Whether as many requests wait or run as the database takes."""
        while self._ends_us and self._ends_us[0] <= now_us:
            self._ends_us.popleft()
        return len(self._ends_us) >= self._settings.max_queue_depth

    def serve(self, now_us: int, commands: Sequence[Command]) -> Served:
        """Execute for a request that arrives now.

        Raises:
            Refused: when the database is overloaded, a statement fails (which takes a base time
                of the thread all the same), or would execute for longer than the limit. Nothing
                took effect.
        """
        wait_us = self.wait_us(now_us)
        if self.is_full(now_us):
            self._refused += 1
            raise Refused(TOO_MANY, 0)
        if wait_us > self.max_wait_us:
            self._refused += 1
            raise Refused(TOO_LONG, self.max_wait_us)
        service_us: list[int] = []

        def price(executions: list[Execution]) -> None:
            for command, execution in zip(commands, executions, strict=True):
                service_us.append(self._price_us(command, execution))
            if sum(service_us) > self._max_service_us:
                raise D1Error(TIMED_OUT)

        try:
            if len(commands) == 1 and reads_only(commands[0].sql):
                executions = self.engine.execute(commands)
                price(executions)
            else:
                executions = self.engine.execute(commands, price)
        except D1Error as error:
            timed_out = str(error) == TIMED_OUT
            held_us = self._max_service_us if timed_out else self._settings.cost.base_us
            self._hold(now_us + wait_us, held_us)
            raise Refused(str(error), wait_us + held_us) from None
        self._hold(now_us + wait_us, sum(service_us))
        reads = sum(execution.readonly for execution in executions)
        self.reads += reads
        self.writes += len(executions) - reads
        return Served(executions, wait_us, service_us)

    def counts(self) -> dict[str, int]:
        """Statements by kind, the steps they took, and the time they held the thread for."""
        return {
            f"d1.{what}.{kind}": count
            for kind, used in self.used.items()
            for what, count in zip(("statements", "steps", "service_us"), used, strict=True)
        }

    def _hold(self, starts_us: int, work_us: int) -> None:
        self._free_at_us = starts_us + work_us
        self._ends_us.append(self._free_at_us)
        self._served += 1
        self.work_us += work_us

    def _price_us(self, command: Command, execution: Execution) -> int:
        cost = self._settings.cost
        kind = kind_of(command.sql)
        own = cost.by_statement.get(kind)
        if own is not None:
            base_us, per_step = own.base_us, own.ns_per_step
        else:
            base_us = cost.base_us
            per_step = cost.read_ns_per_step if execution.readonly else cost.write_ns_per_step
        price_us = base_us + round(execution.vm_steps * per_step / 1000)
        used = self.used.get(kind)
        if used is None:
            used = self.used[kind] = [0, 0, 0]
        used[0] += 1
        used[1] += execution.vm_steps
        used[2] += price_us
        return price_us


Used = list[int]
"""How many statements of a kind, their steps, their time on the thread."""


class Refused(D1Error):
    """A call that D1 answers with an error, ``after_us`` it has arrived there."""

    def __init__(self, message: str, after_us: int) -> None:
        super().__init__(message, after_us)
        self.after_us = after_us

    def __str__(self) -> str:
        return str(self.args[0])


_READING = re.compile(r"\s*(?:select|explain|with)\b", re.I).match
_WRITING = re.compile(
    r"\b(insert|update|delete|replace)\b(?:\s+or\s+\w+)?(?:\s+(?:into|from))?"
    r"\s+(\w+)",
    re.I,
).search
_FROM = re.compile(r"\bfrom\s+(\w+)", re.I).search


@lru_cache(maxsize=1024)
def kind_of(sql: str) -> str:
    """A statement's kind: what it does and the first table it does that to, such as
    select_user_journeys."""
    if writing := _WRITING(sql):
        return f"{writing.group(1)}_{writing.group(2)}".lower()
    reading = _FROM(sql)
    return f"select_{reading.group(1)}".lower() if reading else "other"


@lru_cache(maxsize=1024)
def reads_only(sql: str) -> bool:
    """Whether D1 takes a statement for read-only: SELECT, EXPLAIN or WITH, and no word that
    writes (https://developers.cloudflare.com/d1/best-practices/read-replication/)."""
    return _READING(sql) is not None and _WRITING(sql) is None
