"""L2: Workers KV behind the cache, with lives in one unit and writes within KV's own rate."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from reference_impl.config import StackConfig
from reference_impl.messages import Context
from reference_impl.ports import KVError, Runtime

NOT_THERE = "null"
"""A cached "not there" is JSON's null, which no found value can be."""

PUT_ATTEMPTS = 3
"""A refresh that KV refuses with 429 is tried again this often in all, one write spacing apart."""

LIST_PAGES = 1000
"""Pages of 1,000 keys that one invalidation will walk before it says that it stopped."""


class L2Entry(NamedTuple):
    """A text from KV and the wall-clock instant at which KV itself will drop it."""

    text: str
    expires_wall_us: int


class L2Cache:
    """KV reads and writes of one isolate. Failures are counted here and do not fail a request."""

    def __init__(self, runtime: Runtime, config: StackConfig) -> None:
        self._runtime = runtime
        self._config = config
        self._last_put_us: OrderedDict[str, int] = OrderedDict()
        self.read_errors = 0
        self.write_errors = 0
        self.writes_skipped = 0

    async def get(self, ctx: Context, key: str) -> L2Entry | None:
        """The entry under ``key``; ``None`` when there is none or KV is down (then counted)."""
        try:
            text, metadata = await ctx.kv.get_with_metadata(
                key, cache_ttl=self._config.kv_cache_ttl_s
            )
        except KVError:
            self.read_errors += 1
            return None
        if text is None:
            return None
        return L2Entry(text, _expiry(metadata))

    async def fill(self, ctx: Context, key: str, text: str, ttl_s: int) -> None:
        """Write what a miss fetched. A key written less than a second ago is left as it is:
        what stands there is as new, and KV would refuse a second write."""
        if self._runtime.now_us() < self.next_put_us(key):
            self.writes_skipped += 1
            return
        try:
            await self._put(ctx, key, text, ttl_s)
        except KVError:
            self.write_errors += 1

    async def refresh(self, ctx: Context, key: str, text: str, ttl_s: int) -> int:
        """Write a recomputed value, waiting for the key's turn and out of another's way.

        Answers the wall-clock instant at which KV will drop it.

        Raises:
            KVError: when KV refused every attempt; the old value may live until it expires.
        """
        attempt = 1
        while True:
            while self._runtime.now_us() < (turn_us := self.next_put_us(key)):
                await self._runtime.sleep_until(turn_us)
            try:
                return await self._put(ctx, key, text, ttl_s)
            except KVError as error:
                self.write_errors += 1
                if error.status != 429 or attempt == PUT_ATTEMPTS:
                    raise
            attempt += 1

    async def delete(self, ctx: Context, key: str) -> bool:
        """Delete ``key``; false when KV failed (then counted)."""
        try:
            await ctx.kv.delete(key)
        except KVError:
            self.write_errors += 1
            return False
        return True

    async def keys(self, ctx: Context, prefix: str) -> list[str]:
        """Every key that starts with ``prefix``, over all pages.

        Raises:
            KVError: when a page could not be read, or there are more than 1,000 pages.
        """
        names: list[str] = []
        cursor = None
        for _ in range(LIST_PAGES):
            page = await ctx.kv.list(prefix=prefix, cursor=cursor)
            names += [key.name for key in page.keys]
            if page.list_complete:
                return names
            cursor = page.cursor
        raise KVError(f"over {len(names)} keys start with {prefix!r}; use a longer prefix", 413)

    def next_put_us(self, key: str) -> int:
        """From when on this isolate may write ``key`` again without being refused."""
        last = self._last_put_us.get(key)
        return 0 if last is None else last + self._config.kv_write_spacing_us

    async def _put(self, ctx: Context, key: str, text: str, ttl_s: int) -> int:
        self._note_put(key)
        expires_wall_us = self._runtime.wall_us() + ttl_s * 1_000_000
        await ctx.kv.put(key, text, expiration_ttl=ttl_s, metadata={"e": expires_wall_us})
        return expires_wall_us

    def _note_put(self, key: str) -> None:
        """Remember this write; those older than the spacing are forgotten, so memory is bounded."""
        now_us = self._runtime.now_us()
        self._last_put_us.pop(key, None)
        self._last_put_us[key] = now_us
        while now_us - next(iter(self._last_put_us.values())) > self._config.kv_write_spacing_us:
            self._last_put_us.popitem(last=False)


def _expiry(metadata: object) -> int:
    """When KV drops the entry; an entry that does not say may not be kept in L1 at all."""
    expires = metadata.get("e") if isinstance(metadata, dict) else None
    return expires if isinstance(expires, int) else 0
