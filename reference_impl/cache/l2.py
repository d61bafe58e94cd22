"""L2: Workers KV behind the cache, with lives in one unit and writes within KV's own rate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from reference_impl.config import StackConfig, check_ttl
from reference_impl.keys import KV_MAX_KEY_BYTES
from reference_impl.messages import Context, KVCall
from reference_impl.ports import DeadlineExceeded, EdgeError, KVError, Latch, Runtime

T = TypeVar("T")

NOT_THERE = "null"
"""A cached "not there" is JSON's null, which no found value can be."""

WRITE_ATTEMPTS = 3
"""A write that KV refuses with 429 is tried again this often in all, one write spacing apart."""

LIST_PAGES = 1000
"""Pages of 1,000 keys that one listing will walk before it says that it stopped."""

PAGE_SIZE = 1000
"""https://developers.cloudflare.com/kv/api/list-keys/: the most keys of one page."""

CONNECTIONS = 6
"""https://developers.cloudflare.com/workers/platform/limits/: connections of one invocation."""


class L2Entry(NamedTuple):
    """A text from KV and the wall-clock instant at which its life ends.

    KV drops it at that instant too, or ``stale_s`` later if it was written with such a window.
    The instant is 0 for a text that was not written by this cache.
    """

    text: str
    expires_wall_us: int


class L2Cache:
    """KV reads and writes of one isolate; each operation leaves its time as evidence.

    Lives are in whole seconds from 60 up. Reads and fills that fail are counted and do not fail
    a request; ``set`` raises, ``delete`` answers false. Writes of one key follow one another:
    each waits for the one before it to end and for KV's spacing of writes.
    """

    def __init__(self, runtime: Runtime, config: StackConfig) -> None:
        self._runtime = runtime
        self._config = config
        self._last_put_us: OrderedDict[str, int] = OrderedDict()
        self._writing: dict[str, Latch] = {}
        self.reset_stats()

    async def get(self, ctx: Context, key: str) -> L2Entry | None:
        """The entry under ``key``; ``None`` when there is none, or when KV is down or took longer
        than its time (then counted)."""
        read = ctx.kv.get_with_metadata(key, cache_ttl=self._config.kv_cache_ttl_s)
        if timeout_us := self._config.kv_read_timeout_us:
            read = self._runtime.deadline(read, timeout_us)
        try:
            text, metadata = await self._timed(ctx, "get", read)
        except (KVError, DeadlineExceeded):
            self.read_errors += 1
            return None
        if text is None:
            self.misses += 1
            return None
        self.hits += 1
        return L2Entry(text, _expiry(metadata))

    async def fill(
        self, ctx: Context, key: str, text: str, ttl_s: int, *, stale_s: int = 0
    ) -> None:
        """Write what a miss fetched. A key written less than a second ago is left as it is:
        what stands there is as new, and KV would refuse a second write."""
        if key in self._writing or self._runtime.now_us() < self.next_put_us(key):
            self.writes_skipped += 1
            return
        with suppress(KVError):  # counted already; the answer has long been given
            await self._write(key, lambda: self._put(ctx, key, text, ttl_s, stale_s))

    async def set(self, ctx: Context, key: str, text: str, ttl_s: int, *, stale_s: int = 0) -> int:
        """Write a value, waiting for the key's turn and out of another's way.

        Answers the wall-clock instant at which its life ends.

        Raises:
            ValueError: ``ttl_s`` is under KV's 60 s; nothing was written.
            KVError: when KV refused every attempt; the old value may live until it expires.
        """
        check_ttl(ttl_s)
        return await self._in_turn(key, lambda: self._put(ctx, key, text, ttl_s, stale_s))

    async def delete(self, ctx: Context, key: str) -> bool:
        """Delete ``key`` in its turn, as :meth:`set` writes; false when KV failed (counted).

        KV does not say whether there was anything under the key.
        """
        try:
            await self._in_turn(key, lambda: self._timed(ctx, "delete", ctx.kv.delete(key)))
        except KVError:
            return False
        self.deletes += 1
        return True

    async def delete_many(self, ctx: Context, keys: Iterable[str]) -> int:
        """Delete ``keys``, six at a time; how many of them KV has deleted."""
        jobs = (self.delete(ctx, key) for key in dict.fromkeys(keys))
        return sum(await self._runtime.gather(jobs, limit=CONNECTIONS))

    async def list_keys(self, ctx: Context, prefix: str, limit: int | None = None) -> list[str]:
        """Every key that starts with ``prefix``, over all pages, or the first ``limit`` of them.

        Raises:
            ValueError: ``limit`` is below 1.
            KVError: when a page could not be read (counted), the prefix is over 512 bytes, or
                there are more than 1,000 pages.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"a limit is 1 at least, not {limit}")
        if len(prefix.encode()) > KV_MAX_KEY_BYTES:
            raise KVError(f"a prefix has {KV_MAX_KEY_BYTES} bytes at most", 414)
        names: list[str] = []
        cursor = None
        for _ in range(LIST_PAGES):
            try:
                listing = ctx.kv.list(prefix=prefix, cursor=cursor)
                page = await self._timed(ctx, "list", listing)
            except KVError:
                self.list_errors += 1
                raise
            names += [key.name for key in page.keys]
            if page.list_complete or (limit is not None and len(names) >= limit):
                return names[:limit]
            cursor = page.cursor
        raise KVError(f"over {len(names)} keys start with {prefix!r}; use a longer prefix", 413)

    async def invalidate_by_prefix(self, ctx: Context, prefix: str) -> int:
        """Delete every key that starts with ``prefix``, those included that are just being
        written; how many of them KV has deleted. Raises as :meth:`list_keys`."""
        return await self.delete_many(ctx, await self.keys_to_delete(ctx, prefix))

    async def keys_to_delete(self, ctx: Context, prefix: str) -> list[str]:
        """The keys with ``prefix`` in KV, and those on their way there from this isolate."""
        writing = [key for key in self._writing if key.startswith(prefix)]
        return list(dict.fromkeys([*writing, *await self.list_keys(ctx, prefix)]))

    async def clear(self, ctx: Context) -> int:
        """Delete every key of the known cache types, and no other key of the namespace."""
        deleted = 0
        for cache_type in self._config.kv_expiration_ttl_s:
            deleted += await self.invalidate_by_prefix(ctx, f"{cache_type}:")
        return deleted

    def get_stats(self) -> dict[str, Any]:
        """What was asked of KV and done since the last :meth:`reset_stats`.

        A read that failed is neither a hit nor a miss.
        """
        read = self.hits + self.misses
        return {
            "hits": self.hits,
            "misses": self.misses,
            "hit_ratio": self.hits / read if read else None,
            "sets": self.sets,
            "deletes": self.deletes,
            "read_errors": self.read_errors,
            "write_errors": self.write_errors,
            "list_errors": self.list_errors,
            "writes_skipped": self.writes_skipped,
        }

    def reset_stats(self) -> None:
        """Count from 0 again."""
        self.hits = self.misses = self.sets = self.deletes = 0
        self.read_errors = self.write_errors = self.list_errors = self.writes_skipped = 0

    def next_put_us(self, key: str) -> int:
        """From when on this isolate may write ``key`` again without being refused."""
        last = self._last_put_us.get(key)
        return 0 if last is None else last + self._config.kv_write_spacing_us

    async def _timed(self, ctx: Context, operation: str, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, with the time it took as evidence, when it failed too."""
        started_us = self._runtime.now_us()
        try:
            result = await work
        except EdgeError:
            took_us = self._runtime.now_us() - started_us
            ctx.evidence.kv.append(KVCall(operation, took_us, failed=True))
            raise
        ctx.evidence.kv.append(KVCall(operation, self._runtime.now_us() - started_us))
        return result

    async def _in_turn(self, key: str, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Write once nothing else of this isolate does and KV's spacing is over.

        A 429 is another isolate's write: it is tried again a spacing later.
        """
        attempt = 1
        while True:
            await self._turn(key)
            try:
                return await self._write(key, operation)
            except KVError as error:
                if error.status != 429 or attempt == WRITE_ATTEMPTS:
                    raise
            attempt += 1

    async def _turn(self, key: str) -> None:
        while True:
            if (writing := self._writing.get(key)) is not None:
                await writing.wait()
            elif self._runtime.now_us() < (turn_us := self.next_put_us(key)):
                await self._runtime.sleep_until(turn_us)
            else:
                return

    async def _write(self, key: str, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._note_put(key)
        self._writing[key] = latch = self._runtime.latch()
        try:
            return await operation()
        except KVError:
            self.write_errors += 1
            raise
        finally:
            del self._writing[key]
            latch.set()

    async def _put(self, ctx: Context, key: str, text: str, ttl_s: int, stale_s: int) -> int:
        # KV counts a life from the whole second, and an L1 entry must not outlive it.
        expires_wall_us = (self._runtime.wall_us() // 1_000_000 + ttl_s) * 1_000_000
        metadata = {"e": expires_wall_us}
        put = ctx.kv.put(key, text, expiration_ttl=ttl_s + stale_s, metadata=metadata)
        await self._timed(ctx, "put", put)
        self.sets += 1
        return expires_wall_us

    def _note_put(self, key: str) -> None:
        """Remember this write; those older than the spacing are forgotten, so memory is bounded."""
        now_us = self._runtime.now_us()
        self._last_put_us.pop(key, None)
        self._last_put_us[key] = now_us
        while now_us - next(iter(self._last_put_us.values())) > self._config.kv_write_spacing_us:
            self._last_put_us.popitem(last=False)


def _expiry(metadata: object) -> int:
    """When an entry's life ends; one that does not say may not be kept in L1 at all."""
    expires = metadata.get("e") if isinstance(metadata, dict) else None
    return expires if isinstance(expires, int) else 0
