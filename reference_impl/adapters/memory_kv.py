"""Workers KV on fakeredis, in this process: the embedded store of ``edgekpi serve``.

The same commands run on a real Redis or Valkey. One store, so every write is visible at once;
propagation between nodes belongs to the world model.
"""

from __future__ import annotations

import json
from typing import Any

import fakeredis

from reference_impl.adapters.kv_rules import (
    check_cache_ttl,
    check_key,
    check_put,
    page_of,
)
from reference_impl.ports import KVList


class MemoryKV:
    """A KV namespace on fakeredis; a value and its metadata lie in one JSON text."""

    def __init__(self, redis: fakeredis.FakeAsyncRedis | None = None) -> None:
        self._redis = redis or fakeredis.FakeAsyncRedis(decode_responses=True)

    async def get(self, key: str, *, cache_ttl: int | None = None) -> str | None:
        """The value under ``key``, or ``None``."""
        return (await self.get_with_metadata(key, cache_ttl=cache_ttl))[0]

    async def get_with_metadata(
        self, key: str, *, cache_ttl: int | None = None
    ) -> tuple[str | None, Any]:
        """The value and its metadata; ``cache_ttl`` is checked and has no effect in one store."""
        check_key(key, "GET")
        check_cache_ttl(cache_ttl)
        stored = await self._redis.get(key)
        if stored is None:
            return None, None
        record = json.loads(stored)
        return record["v"], record["m"]

    async def put(
        self, key: str, value: str, *, expiration_ttl: int | None = None, metadata: Any = None
    ) -> None:
        """Store ``value`` for ``expiration_ttl`` seconds, or without an end."""
        check_put(key, value, expiration_ttl)
        await self._redis.set(key, json.dumps({"v": value, "m": metadata}), ex=expiration_ttl)

    async def delete(self, key: str) -> None:
        """Forget ``key``; no error when it is not there."""
        check_key(key, "DELETE")
        await self._redis.delete(key)

    async def list(
        self, *, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        """One page of keys; see :func:`page_of`."""
        names = [name async for name in self._redis.scan_iter(count=1000)]
        return page_of(names, prefix, limit, cursor)
