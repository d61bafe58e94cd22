"""A small world for the stack: virtual time, an in-memory KV and queue, and the real SQLite."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from reference_impl.adapters.d1_binding import D1Binding
from reference_impl.adapters.kv_reads import KVReads
from reference_impl.adapters.kv_rules import check_key, check_list, check_put, page_of
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.cache.l1 import L1Cache
from reference_impl.messages import Evidence
from reference_impl.ports import (
    D1Database,
    D1Error,
    D1Result,
    KVEntry,
    KVError,
    KVKey,
    KVList,
    KVNamespace,
    Queue,
    QueueError,
)
from sim.bridge import SimRuntime

T = TypeVar("T")
SECOND_US = 1_000_000


class Put(NamedTuple):
    """One write that KV took."""

    at_us: int
    key: str
    text: str
    ttl_s: float | None


class _Stored(NamedTuple):
    text: str
    metadata: Any
    expires_us: int


class FakeKV(KVReads):
    """One KV store without copies: a read or write takes ``delay_us``, a key one write a second."""

    def __init__(self, runtime: SimRuntime) -> None:
        self._runtime = runtime
        self._stored: dict[str, _Stored] = {}
        self._last_write_us: dict[str, int] = {}
        self.delay_us = 5_000
        self.reads = 0
        self.puts: list[Put] = []
        self.refused = 0
        self.fail_reads: KVError | None = None
        self.fail_writes: KVError | None = None

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        self.reads += 1
        await self._runtime.sleep(self.delay_us)
        if self.fail_reads:
            raise self.fail_reads
        found = self._stored.get(key)
        if found is None or self._runtime.now_us() >= found.expires_us:
            return KVEntry(None)
        return KVEntry(found.text, found.metadata)

    async def put(
        self,
        key: str,
        value: str | bytes,
        expiration_ttl: float | None = None,
        expiration: float | None = None,
        metadata: Any = None,
    ) -> None:
        assert isinstance(value, str)
        now_us = self._runtime.now_us()
        put = check_put(key, value, now_us / SECOND_US, expiration_ttl, expiration, metadata)
        expires_us = 2**60 if put.expires_s is None else put.expires_s * SECOND_US
        await self._write(key)
        self.puts.append(Put(now_us, key, value, expiration_ttl))
        self._stored[key] = _Stored(value, metadata, expires_us)

    async def delete(self, key: str) -> None:
        check_key(key, "DELETE")
        await self._write(key)
        self._stored.pop(key, None)

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        await self._runtime.sleep(self.delay_us)
        if self.fail_reads:
            raise self.fail_reads
        return page_of(map(KVKey, self._stored), check_list(prefix, limit, cursor))

    def expires_us(self, key: str) -> int:
        """When KV drops ``key``, on the runtime's clock."""
        return self._stored[key].expires_us

    def text(self, key: str) -> str | None:
        """What is stored under ``key``, expired or not."""
        found = self._stored.get(key)
        return found.text if found else None

    async def _write(self, key: str) -> None:
        if self.fail_writes:
            raise self.fail_writes
        now_us = self._runtime.now_us()
        if now_us - self._last_write_us.get(key, -SECOND_US) < SECOND_US:
            self.refused += 1
            raise KVError("KV PUT failed: 429 Too Many Requests", 429)
        self._last_write_us[key] = now_us
        await self._runtime.sleep(self.delay_us)


class SqliteExecutor:
    """The real engine: statements take effect after ``delay_us``, the answer comes that later."""

    def __init__(self, runtime: SimRuntime) -> None:
        self._runtime = runtime
        self.engine = SqliteEngine()
        self.engine.migrate()
        self.delay_us = 10_000
        self.fail: D1Error | None = None
        self.calls: list[list[Command]] = []

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        self.calls.append(list(commands))
        await self._runtime.sleep(self.delay_us)
        if self.fail:
            raise self.fail
        executions = self.engine.execute(commands)
        await self._runtime.sleep(self.delay_us)
        return [execution.result(duration=0.25, wait_us=7) for execution in executions]


class FakeQueue:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.fail = False

    async def send(self, body: Mapping[str, Any]) -> None:
        if self.fail:
            raise QueueError("Storage Limit Exceeded")
        self.sent.append(dict(body))

    async def send_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        for body in bodies:
            await self.send(body)


@dataclass(slots=True)
class FakeContext:
    """One invocation's bindings."""

    runtime: SimRuntime
    kv: KVNamespace
    d1: D1Database
    queue: Queue
    evidence: Evidence = field(default_factory=Evidence)
    l1: L1Cache | None = None

    def wait_until(self, work: Coroutine[Any, Any, Any]) -> None:
        self.runtime.spawn(work)


class Edge:
    """A runtime with one KV namespace, one database and one queue."""

    def __init__(self) -> None:
        self.runtime = SimRuntime()
        self.kv = FakeKV(self.runtime)
        self.d1 = SqliteExecutor(self.runtime)
        self.queue = FakeQueue()

    def context(self) -> FakeContext:
        """The context of a new invocation."""
        return FakeContext(self.runtime, self.kv, D1Binding(self.d1), self.queue)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, once everything that it started has ended as well."""
        results: list[T] = []

        async def main() -> None:
            results.append(await work)

        self.runtime.spawn(main())
        self.runtime.run()
        assert self.runtime.shutdown() == 0, "something waits for what never comes"
        return results[0]

    async def sleep_s(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self.runtime.sleep(round(seconds * SECOND_US))

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """What the database holds, past all delays."""
        (execution,) = self.d1.engine.execute([Command(sql, values)])
        return execution.rows


class NodeKV(KVReads):
    """What one edge node sees of a shared store: its own copies, for the reader's ``cache_ttl``.

    Misses are copied as values are. A write of this node is its newest copy.
    """

    def __init__(self, edge: Edge) -> None:
        self._runtime = edge.runtime
        self._central = edge.kv
        self._copies: dict[str, tuple[str | None, Any, int]] = {}

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        asked_us = self._runtime.now_us()
        text, metadata, fetched_us = self._copies.get(key, (None, None, -(2**60)))
        ends_us = fetched_us + (cache_ttl or 60) * SECOND_US
        alive = text is None or self._runtime.wall_us() < metadata["e"]
        if asked_us < ends_us and alive:
            await self._runtime.sleep(1_000)
            return KVEntry(text, metadata)
        found = await self._central.read(key, cache_ttl)
        if self._copies.get(key, (None, None, 0))[2] <= asked_us:
            self._copies[key] = (*found, self._runtime.now_us())
        return found

    async def put(
        self,
        key: str,
        value: str | bytes,
        expiration_ttl: float | None = None,
        expiration: float | None = None,
        metadata: Any = None,
    ) -> None:
        assert isinstance(value, str)
        await self._central.put(key, value, expiration_ttl, expiration, metadata)
        self._copies[key] = (value, metadata, self._runtime.now_us())

    async def delete(self, key: str) -> None:
        await self._central.delete(key)
        self._copies[key] = (None, None, self._runtime.now_us())

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        return await self._central.list(prefix=prefix, limit=limit, cursor=cursor)
