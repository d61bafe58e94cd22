"""Workers KV on Redis or Valkey, or on fakeredis in this process.

One store, so every write is visible at once; propagation between nodes belongs to the world
model. In Redis lie, under the namespace's name: for each key a hash with its value (``v``), its
metadata as JSON (``m``) and the second at which it ends (``e``); a sorted set of all keys, which
Redis keeps in the order of their bytes; and one of the keys that end, by when they do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import fakeredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reference_impl.adapters.circuit_breaker import CircuitBreaker, CircuitOpen
from reference_impl.adapters.kv_reads import KVReads
from reference_impl.adapters.kv_rules import ListRequest, Put, check_key, check_list, check_put
from reference_impl.ports import KVEntry, KVError, KVKey, KVList

T = TypeVar("T")
Method = Callable[..., Coroutine[Any, Any, T]]

SLACK_S = 60
"""Redis drops an entry so long after its end: what has ended is decided by this clock alone."""

AT_ONCE = 100_000
"""Operations under way at once in this process; the client itself would stop at 100 and fail."""

SWEEP_EVERY = 64
SWEEP_MOST = 128
"""Once in so many writes, so many ended keys at most leave the sorted sets."""


NO_ANSWER = (RedisConnectionError, RedisTimeoutError, OSError)
"""What the client raises when nothing answers; its other errors are answers."""


def _operation(verb: str) -> Callable[[Method[T]], Method[T]]:
    """An operation on the store, through the circuit where there is one.

    The service's own failures are told as KV would tell them; the message names no address.
    """

    def decorate(method: Method[T]) -> Method[T]:
        @wraps(method)
        async def asked(self: RedisKV, *args: Any) -> T:
            try:
                if self.circuit is None:
                    return await method(self, *args)
                return await self.circuit.call(lambda: method(self, *args))
            except (RedisError, OSError, CircuitOpen) as error:
                raise KVError(f"KV {verb} failed: 503 {_reason(error)}", 503) from None

        return asked

    return decorate


def _reason(error: Exception) -> str:
    why = f"circuit {error.state}" if isinstance(error, CircuitOpen) else type(error).__name__
    return f"the store does not answer ({why})"


def embedded_kv(**options: Any) -> RedisKV:
    """A namespace of its own on fakeredis, in this process; ``options`` are those of RedisKV."""
    redis = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), max_connections=AT_ONCE)
    return RedisKV(redis, **options)


class RedisKV(KVReads):
    """A KV namespace of the name ``namespace`` in Redis.

    ``now_s`` is the clock by which lives count. With ``write_spacing_s`` above 0 a key takes one
    write in so many seconds, as on the platform, and a further one is refused with 429.

    With ``now_us``, a monotonic clock, there is a ``circuit``: a store that does not answer is left
    alone for a while, and operations fail at once. Fakeredis always answers and has none.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        namespace: str = "kv",
        now_s: Callable[[], float] = time.time,
        write_spacing_s: float = 0.0,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self.circuit = CircuitBreaker(now_us, NO_ANSWER) if now_us else None
        self._redis: Any = redis  # whose own types leave open of most answers what they are
        self._names = f"{namespace}:keys".encode()
        self._entry = f"{namespace}:entry:".encode()
        self._ends = f"{namespace}:ends".encode()
        self._written = f"{namespace}:written:".encode()
        self._puts = 0
        self._now_s = now_s
        self._write_spacing_ms = round(write_spacing_s * 1000)

    @_operation("GET")
    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        """The entry under ``key``; ``cache_ttl`` has no effect in one store."""
        return self._alive(await self._redis.hmget(self._entry + key.encode(), ["v", "m", "e"]))

    @_operation("GET_BULK")
    async def read_many(self, keys: Sequence[str], cache_ttl: int | None) -> list[KVEntry]:
        """The entries under ``keys``, in one round trip."""
        rows = await self._fields([key.encode() for key in keys], ["v", "m", "e"])
        return [self._alive(fields) for _, *fields in rows]

    async def put(
        self,
        key: str,
        value: str | bytes,
        expiration_ttl: float | None = None,
        expiration: float | None = None,
        metadata: Any = None,
    ) -> None:
        """Store ``value``; see :class:`ports.KVNamespace`.

        Raises:
            KVError: for what KV refuses, 429 for a second write within the spacing, 503 when the
                store does not answer.
        """
        now_s = self._now_s()
        put = check_put(key, value, now_s, expiration_ttl, expiration, metadata)
        await self._put(key, put, now_s)

    @_operation("PUT")
    async def _put(self, key: str, put: Put, now_s: float) -> None:
        await self._claim_write(key, "PUT")
        fields: dict[str, str | bytes | int] = {"v": put.value}
        if put.metadata is not None:
            fields["m"] = put.metadata
        if put.expires_s is not None:
            fields["e"] = put.expires_s
        name = self._entry + key.encode()
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(name)
            pipe.hset(name, mapping=fields)
            pipe.zadd(self._names, {key.encode(): 0})
            if put.expires_s is None:
                pipe.zrem(self._ends, key.encode())
            else:
                pipe.expire(name, put.expires_s - int(now_s) + SLACK_S)
                pipe.zadd(self._ends, {key.encode(): put.expires_s})
            await pipe.execute()
        self._puts += 1
        if self._puts % SWEEP_EVERY == 0:
            await self._sweep()

    async def delete(self, key: str) -> None:
        """Forget ``key``; no error when it is not there."""
        check_key(key, "DELETE")
        await self._delete(key)

    @_operation("DELETE")
    async def _delete(self, key: str) -> None:
        await self._claim_write(key, "DELETE")
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(self._entry + key.encode())
            pipe.zrem(self._names, key.encode())
            pipe.zrem(self._ends, key.encode())
            await pipe.execute()

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        """One page of keys in the order of their UTF-8 bytes; what has ended takes no place."""
        request = check_list(prefix, limit, cursor)
        return KVList((), True) if request is None else await self._list(request)

    @_operation("GET")
    async def _list(self, request: ListRequest) -> KVList:
        found: list[KVKey] = []
        least = b"[" + request.prefix
        if request.after is not None and request.after >= request.prefix:
            least = b"(" + request.after
        while len(found) <= request.limit:
            names = await self._redis.zrangebylex(
                self._names, least, b"+", start=0, num=request.limit + 1
            )
            taken = [name for name in names if name.startswith(request.prefix)]
            found += await self._alive_keys(taken)
            if len(taken) < request.limit + 1:
                break
            least = b"(" + taken[-1]
        return request.page(found)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()

    def _alive(self, fields: Sequence[bytes | None]) -> KVEntry:
        value, metadata, expires_s = fields
        if value is None or (expires_s is not None and self._now_s() >= int(expires_s)):
            return KVEntry(None)
        return KVEntry(value, metadata and json.loads(metadata))

    async def _alive_keys(self, names: Sequence[bytes]) -> Sequence[KVKey]:
        """Those of ``names`` that have not ended; what Redis has dropped leaves the sets."""
        entries = await self._fields(names, ["m", "e"])
        found, dropped = [], []
        for name, (exists, metadata, expires_s) in zip(names, entries, strict=True):
            if not exists:
                dropped.append(name)
            elif expires_s is None or self._now_s() < int(expires_s):
                ends_s = None if expires_s is None else int(expires_s)
                found.append(KVKey(name.decode(), ends_s, metadata and json.loads(metadata)))
        await self._forget(dropped)
        return found

    async def _fields(self, names: Sequence[bytes], fields: Sequence[str]) -> Iterator[Any]:
        """Whether each entry is there, and its ``fields``, in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(self._entry + name)
                pipe.hmget(self._entry + name, fields)
            answers = await pipe.execute()
        return ((exists, *row) for exists, row in zip(answers[::2], answers[1::2], strict=True))

    async def _sweep(self) -> None:
        """Let keys that ended leave the sets, for a namespace that nobody lists."""
        last_s = self._now_s() - SLACK_S
        ended = await self._redis.zrangebyscore(self._ends, "-inf", last_s, 0, SWEEP_MOST)
        await self._alive_keys(ended)

    async def _forget(self, names: Sequence[bytes]) -> None:
        """Take ``names`` out of the sets, unless one of them has been written again meanwhile."""
        if not names:
            return
        entries = [self._entry + name for name in names]
        with suppress(WatchError):
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(*entries)
                if await pipe.exists(*entries):
                    return
                pipe.multi()
                pipe.zrem(self._names, *names)
                pipe.zrem(self._ends, *names)
                await pipe.execute()

    async def _claim_write(self, key: str, verb: str) -> None:
        """Redis itself lets a key's turn pass, so all processes share it."""
        if not self._write_spacing_ms:
            return
        name = self._written + key.encode()
        if not await self._redis.set(name, 1, nx=True, px=self._write_spacing_ms):
            raise KVError(f"KV {verb} failed: 429 Too Many Requests", 429)
