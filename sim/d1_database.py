"""A D1 database in the world: a primary at a distance, and replicas that follow it.

A call travels, waits for the instance's thread, and travels back; a commit waits for its copies
without holding the thread. Reads are asked again when a connection is lost. In a session a read
goes to the nearest instance; a replica that has not yet what the session has seen lets it wait.
https://developers.cloudflare.com/d1/best-practices/read-replication/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from reference_impl.adapters.sqlite import Command, Execution, SqliteEngine
from reference_impl.ports import D1Error, D1Result, Runtime
from scenarios.parts import LatencyMs
from scenarios.services import D1
from scenarios.streams import lognormal_us, stream
from sim.d1 import D1Server, Refused, reads_only
from sim.invocation import Invocation

LOST = "D1_ERROR: Network connection lost."

LAG_HOLDS_US = 10_000_000
"""A replica's lag is drawn anew so often: lags of neighbouring commits are alike."""

OnCommit = Callable[[Command, int], None]
"""Told of a statement that has changed something, and from when on that is durable."""


class Commit(NamedTuple):
    """What one call changed, and when that was durable."""

    commands: tuple[Command, ...]
    durable_us: int


class Replica(D1Server):
    """A replica: it shows the primary's commits in their order, each its lag later.

    ``lag_key`` is the seed and name of its lags, drawn from ``zero_us`` on. To apply a commit
    takes no time of its thread (assumption).
    """

    def __init__(
        self,
        runtime: Runtime,
        engine: SqliteEngine,
        settings: D1,
        log: Sequence[Commit],
        lag_key: tuple[int, str],
        zero_us: int = 0,
    ) -> None:
        super().__init__(runtime, engine, settings)
        self._log = log
        self._lag_key = lag_key
        self._lag_law: LatencyMs = settings.replica_lag_ms
        self._zero_us = zero_us
        self._shows_us: list[int] = []
        self.applied = 0

    def shows_us(self, bookmark: int) -> int:
        """From when on the first ``bookmark`` commits are all to be seen here."""
        while len(self._shows_us) < bookmark:
            durable_us = self._log[len(self._shows_us)].durable_us
            before_us = self._shows_us[-1] if self._shows_us else 0
            self._shows_us.append(max(before_us, durable_us + self._lag_us(durable_us)))
        return self._shows_us[bookmark - 1] if bookmark else 0

    def catch_up(self, now_us: int) -> None:
        """Apply the commits that are to be seen by now."""
        while self.applied < len(self._log) and self.shows_us(self.applied + 1) <= now_us:
            self.engine.execute(self._log[self.applied].commands)
            self.applied += 1

    def _lag_us(self, at_us: int) -> int:
        seed, part = self._lag_key
        number = max(0, at_us - self._zero_us) // LAG_HOLDS_US
        return int(lognormal_us(stream(seed, part, number), self._lag_law, 1)[0])


class D1Database:
    """The primary, the replica nearest to each node by its name, and the log between them."""

    def __init__(
        self,
        primary: D1Server,
        settings: D1,
        replicas: Mapping[str, Replica],
        log: list[Commit],
        on_commit: OnCommit = lambda _command, _at_us: None,
    ) -> None:
        self.primary = primary
        self.settings = settings
        self.replicas = replicas
        self._log = log
        self._on_commit = on_commit
        self._first_primary = settings.session == "first-primary"
        self.lost = 0
        self.retried = 0

    def without_sessions(self) -> D1Database:
        """The same database for whoever asks the primary alone."""
        return D1Database(self.primary, self.settings, {}, self._log, self._on_commit)

    def instances(self) -> list[D1Server]:
        """The primary and each replica."""
        return [self.primary, *dict.fromkeys(self.replicas.values())]

    def instance(self, inv: Invocation, *, reading: bool) -> D1Server:
        """Who answers this call of the invocation."""
        if not reading or (self._first_primary and inv.d1_bookmark is None):
            return self.primary
        return self.replicas.get(inv.node.name, self.primary)

    @property
    def bookmark(self) -> int:
        """How many commits there have been."""
        return len(self._log)

    def committed(
        self, commands: Sequence[Command], executions: Sequence[Execution], durable_us: int
    ) -> None:
        """Take note of a call that wrote."""
        for command, execution in zip(commands, executions, strict=True):
            if execution.changes:
                self._on_commit(command, durable_us)
        if self.settings.replicas:
            self._log.append(Commit(tuple(commands), durable_us))


class D1Executor:
    """Runs the commands of one invocation: there, through the queue, and back."""

    __slots__ = ("_database", "_inv")

    def __init__(self, inv: Invocation, database: D1Database) -> None:
        self._inv = inv
        self._database = database

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        """The results, with the wait, the round trip and the attempts in their ``meta``.

        Raises:
            D1Error: for a statement that fails or takes too long, when the database is
                overloaded, or when the connection was lost and not found again.
        """
        reading = all(reads_only(command.sql) for command in commands)
        retries = self._database.settings.read_retries if reading else 0
        async with self._inv.d1_connections:
            for attempt in range(1, retries + 1):
                try:
                    return await self._attempt(commands, attempt, reading=reading)
                except _Lost:
                    self._database.retried += 1
            return await self._attempt(commands, retries + 1, reading=reading)

    async def _attempt(
        self, commands: Sequence[Command], attempt: int, *, reading: bool
    ) -> list[D1Result]:
        inv, database, draws = self._inv, self._database, self._inv.draws
        use, inv.d1_uses = inv.d1_uses, inv.d1_uses + 1
        server = database.instance(inv, reading=reading)
        trips = draws.d1_rtt if server is database.primary else draws.d1_replica_rtt
        round_trip_us = trips[inv.node.name].us(inv.number, use)
        back_us = round_trip_us // 2
        overhead_us = draws.d1_overhead.us(inv.number, use)
        if draws.d1_lost.happens(inv.number, use):
            database.lost += 1
            await inv.sleep(overhead_us + round_trip_us)
            raise _Lost(LOST)
        await inv.sleep(overhead_us + round_trip_us - back_us)
        behind_us = await self._caught_up(server)
        now_us = inv.now_us()
        try:
            executions, wait_us, service_us = server.serve(now_us, commands)
        except Refused as refused:
            await inv.sleep(refused.after_us + back_us)
            raise D1Error(str(refused)) from None
        done_us = wait_us + sum(service_us)
        if not reading and any(not execution.readonly for execution in executions):
            done_us += draws.d1_commit.us(inv.number, use)
            database.committed(commands, executions, now_us + done_us)
        inv.d1_bookmark = server.applied if isinstance(server, Replica) else database.bookmark
        await inv.sleep(done_us + back_us)
        meta = {
            "wait_us": behind_us + wait_us,
            "round_trip_us": overhead_us + round_trip_us,
            "served_by_primary": server is database.primary,
            "total_attempts": attempt,
        }
        return [
            execution.result(duration=each_us / 1000, **meta)
            for execution, each_us in zip(executions, service_us, strict=True)
        ]

    async def _caught_up(self, server: D1Server) -> int:
        """Wait until a replica shows what this session has seen; for how long that was."""
        if not isinstance(server, Replica):
            return 0
        inv = self._inv
        began_us = inv.now_us()
        behind_us = server.shows_us(inv.d1_bookmark or 0) - began_us
        if behind_us > 0:
            await inv.sleep(behind_us)
        server.catch_up(inv.now_us())
        return inv.now_us() - began_us


class _Lost(D1Error):
    """The connection broke before the call arrived; nothing was executed."""
