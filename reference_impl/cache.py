"""The cache manager: L1, then KV, then one fetch from D1 however many ask.

Values are JSON texts, so callers cannot edit what is cached and both layers hold the same. A
fetch that finds nothing is cached as "not there", with a short life of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from reference_impl.config import StackConfig
from reference_impl.l1 import L1Cache
from reference_impl.l2 import NOT_THERE, L2Cache
from reference_impl.messages import Context, Layer, Lookup
from reference_impl.ports import EdgeError, Latch, Runtime

Fetch = Callable[[], Awaitable[str | None]]


class FetchAbandoned(EdgeError):
    """The request that was fetching for others was cancelled; each of them asks again."""


class _Loaded(NamedTuple):
    text: str
    layer: Layer


class CacheManager:
    """One isolate's view of the cache. Every look-up leaves one :class:`Lookup` as evidence."""

    def __init__(self, runtime: Runtime, config: StackConfig) -> None:
        self._runtime = runtime
        self._config = config
        self._loading: dict[str, Latch] = {}
        self.l1 = L1Cache(runtime.now_us, config.l1_max_bytes, config.l1_max_entries)
        self.l2 = L2Cache(runtime, config)

    async def get(self, ctx: Context, cache_type: str, key: str, fetch: Fetch) -> str | None:
        """The JSON text under ``key``, or ``None`` for "not there".

        ``fetch`` reads the source when neither layer has the key; it is called once however many
        look-ups wait for it, and its error reaches each of them.
        """
        text = self.l1.get(key)
        layer = Layer.L1
        if text is None:
            joining = key in self._loading
            try:
                text, layer = await self._load_once(ctx, cache_type, key, fetch)
            except Exception:
                missed = Layer.JOINED if joining else Layer.MISS
                ctx.evidence.lookups.append(Lookup(cache_type, missed))
                raise
        negative = text == NOT_THERE
        ctx.evidence.lookups.append(Lookup(cache_type, layer, negative))
        return None if negative else text

    async def refresh(self, ctx: Context, cache_type: str, key: str, text: str | None) -> None:
        """Put a recomputed value (``None``: no longer there) into KV and then into L1.

        Other isolates go on serving theirs until their L1 life ends, other nodes until their KV
        copy does. Raises :class:`KVError` when KV refused the write; then L1 is as it was.
        """
        stored = NOT_THERE if text is None else text
        ttl_s = self._config.expiration_ttl_s(cache_type, negative=text is None)
        expires_wall_us = await self.l2.refresh(ctx, key, stored, ttl_s)
        self._keep(key, stored, expires_wall_us)

    async def invalidate(self, ctx: Context, keys: Sequence[str]) -> dict[str, Any]:
        """Delete ``keys`` from this isolate's L1 and from KV; what was done.

        Another isolate may serve its copy for ``l1_ttl_s`` more, and another node its copy of the
        KV entry for ``kv_cache_ttl_s`` on top: the bound is in the answer.
        """
        keys = list(dict.fromkeys(keys))
        l1_deleted = sum(self.l1.delete(key) for key in keys)
        jobs = (self.l2.delete(ctx, key) for key in keys)
        deleted = await self._runtime.gather(jobs, limit=6)
        return {
            "keys": len(keys),
            "l1_deleted": l1_deleted,
            "kv_deleted": sum(deleted),
            "kv_failed": len(keys) - sum(deleted),
            "elsewhere_within_s": self._config.l1_ttl_s + self._config.kv_cache_ttl_s,
        }

    async def invalidate_by_prefix(self, ctx: Context, prefix: str) -> dict[str, Any]:
        """Delete every key that starts with ``prefix``, as :meth:`invalidate` does.

        Raises:
            KVError: when the keys could not be listed; then only L1 was cleared.
        """
        l1_deleted = self.l1.delete_prefix(prefix)
        done = await self.invalidate(ctx, await self.l2.keys(ctx, prefix))
        return {**done, "l1_deleted": done["l1_deleted"] + l1_deleted}

    async def _load_once(
        self, ctx: Context, cache_type: str, key: str, fetch: Fetch
    ) -> tuple[str, Layer]:
        while (loading := self._loading.get(key)) is not None:
            try:
                loaded = await loading.wait()
            except FetchAbandoned:
                continue
            return loaded.text, Layer.JOINED if loaded.layer is Layer.MISS else loaded.layer
        self._loading[key] = latch = self._runtime.latch()
        try:
            loaded = await self._load(ctx, cache_type, key, fetch)
        except Exception as error:
            latch.fail(error)
            raise
        except BaseException:
            latch.fail(FetchAbandoned(key))
            raise
        else:
            latch.set(loaded)
            return loaded.text, loaded.layer
        finally:
            del self._loading[key]

    async def _load(self, ctx: Context, cache_type: str, key: str, fetch: Fetch) -> _Loaded:
        found = await self.l2.get(ctx, key)
        if found is not None:
            self._keep(key, found.text, found.expires_wall_us)
            return _Loaded(found.text, Layer.KV)
        value = await fetch()
        text = NOT_THERE if value is None else value
        ttl_s = self._config.expiration_ttl_s(cache_type, negative=value is None)
        self._keep(key, text, self._runtime.wall_us() + ttl_s * 1_000_000)
        ctx.wait_until(self.l2.fill(ctx, key, text, ttl_s))
        return _Loaded(text, Layer.MISS)

    def _keep(self, key: str, text: str, expires_wall_us: int) -> None:
        """Keep in L1 for its own life or the rest of the KV entry's, whichever is shorter."""
        rest_us = expires_wall_us - self._runtime.wall_us()
        life_us = min(self._config.l1_ttl_s * 1_000_000, rest_us)
        if life_us > 0:
            self.l1.set(key, text, self._runtime.now_us() + life_us)
