"""The cache manager: L1, then KV, then one fetch from D1 however many ask.

Values are JSON texts, so callers cannot edit what is cached and both layers hold the same. A
fetch that finds nothing is cached as "not there", with a short life of its own.

**How old an answer can be.** A look-up that begins ``elsewhere_within_s`` or more after a key was
written or deleted is not answered with what was there before, in whatever isolate. For:

- In the isolate that wrote, loads of the key that are under way when KV has taken the write are
  void: they answer those who asked, and are neither kept nor joined from then on.
- L1 counts an entry's life from the instant its load *began*, and a load is joined no longer than
  that. So L1 adds ``l1_ttl_s`` to the age of what was read, however slow the reading was.
- A node serves its copy of a KV entry for ``kv_cache_ttl_s``, and none beyond the entry's end.
- A fetch elsewhere that read D1 before the change could still be written to KV after it. KV takes
  one write a second of a key, deletions included, and refuses the others. So what is accepted
  behind the change comes a second or more behind it, and if its fetch had begun before, it took
  over a second. Such late values get KV's least life of 60 s, and after ``l1_ttl_s`` none at all.

In sum ``l1_ttl_s`` + the larger of ``kv_cache_ttl_s`` and 60 s. This takes KV at its word: the
limit of one write a second is exact, writes of a key take effect in the order in which they were
accepted, and the next central read of a node sees them. It also takes a ``fetch`` that reads D1
itself: one that answers from a query cache of 60 s makes every value that much older.

A number of the generation in KV was weighed and not built. Without a read for each look-up it has
to be polled, so it reaches other isolates no sooner; KV has no compare-and-set to count it safely,
and all keys of the generation would be missed at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypedDict

from reference_impl.cache import tally
from reference_impl.cache.flights import Flight, Flights
from reference_impl.cache.l1 import L1Cache, L1Counts
from reference_impl.cache.l2 import NOT_THERE, L2Cache
from reference_impl.cache.tally import Tally
from reference_impl.config import KV_MIN_EXPIRATION_TTL_S, StackConfig, check_ttl
from reference_impl.keys import check_key
from reference_impl.messages import Context
from reference_impl.ports import EdgeError, KVError, Latch, Runtime

Fetch = Callable[[], Awaitable[str | None]]

PROMPT_US = 1_000_000
"""A fetch that took longer may be older than a write of another isolate that KV has taken since:
https://developers.cloudflare.com/kv/platform/limits/ has one write a second of a key."""

SETTLE_S = 3
"""After this a prefix is listed again: fetches under way elsewhere at the first listing, for keys
that were not yet in KV, have ended (1 s, or they are late) and been written (2 s, an assumption
over the p99 of a write)."""


class FetchAbandoned(EdgeError):
    """The request that was fetching for others was cancelled; each of them asks again."""


class NotCached(LookupError):
    """A look-up without a ``fetch`` found nothing; a cached "not there" is an answer, not this."""


class Invalidation(TypedDict):
    """What one invalidation has done, and after how long it holds in every other isolate."""

    keys: int
    l1_deleted: int
    kv_deleted: int
    kv_failed: int
    elsewhere_within_s: int


class _Loaded(NamedTuple):
    text: str
    layer: int
    stale: bool = False


class CacheManager:
    """One isolate's view of the cache. Every look-up leaves one :class:`Lookup` as evidence.

    ``on_invalidate`` is called at the begin and the end of each invalidation, for whatever else
    remembers answers of the source (a query cache): it should forget them all.

    Lives given as ``ttl_s`` are seconds, 60 or more.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: StackConfig,
        on_invalidate: Callable[[], None] = lambda: None,
    ) -> None:
        self._runtime = runtime
        self._config = config
        self._on_invalidate = on_invalidate
        self._l1_life_us = config.l1_ttl_s * 1_000_000
        self._stale_window_s = config.kv_stale_ttl_s
        self._of_isolate = config.l1_scope == "isolate"
        self._flights = Flights()
        self._renewing: set[str] = set()
        self._tallies: dict[str, Tally] = {}
        self.renewals_failed = 0
        self._l1_counts = L1Counts()
        self.l1 = self._new_l1()
        self.l2 = L2Cache(runtime, config)

    async def get(
        self, ctx: Context, cache_type: str, key: str, fetch: Fetch | None = None
    ) -> str | None:
        """The JSON text under ``key``, or ``None`` for "not there".

        ``fetch`` reads the source when neither layer has the key; it is called once however many
        look-ups wait for it (with ``single_flight``), and its error reaches each of them.

        Raises:
            NotCached: neither layer has the key and there is no ``fetch``.
            TypeError: ``fetch`` brought neither a text nor ``None``; nothing was cached.
            TypeError, ValueError: KV could not hold ``key``; see :func:`keys.check_key`.
        """
        counts = self._tallies.get(cache_type) or self._new_tally(cache_type)
        l1 = self.l1 if self._of_isolate else self._l1_of(ctx)
        text = l1.get(key)
        if text is not None:
            return counts.answer(ctx.evidence, tally.L1, text)
        joined = self._joinable(key) if fetch is not None and key in self._flights else None
        try:
            if joined is None:
                loaded = await self._load_for_all(ctx, cache_type, key, fetch)
            else:
                loaded = await self._join(ctx, cache_type, key, fetch, joined)
        except Exception:
            counts.count(ctx.evidence, tally.MISS if joined is None else tally.JOINED)
            raise
        return counts.answer(ctx.evidence, loaded.layer, loaded.text, stale=loaded.stale)

    async def set(
        self, ctx: Context, cache_type: str, key: str, text: str | None, ttl_s: int | None = None
    ) -> None:
        """Put a new value (``None``: no longer there) into KV in the key's turn, then into L1.

        It lives as long as its type has it, or ``ttl_s``. Other isolates follow within the bound
        at the top of this file.

        Raises:
            ValueError: ``ttl_s`` is under KV's 60 s, or KV could not hold ``key``; nothing has
                changed.
            KVError: KV refused the write; then L1 is as it was.
        """
        check_key(key)
        negative = text is None
        stored = NOT_THERE if text is None else text
        if ttl_s is None:
            ttl_s = self._config.life_s(cache_type, key, negative=negative)
        check_ttl(ttl_s)
        expires_wall_us = await self.l2.set(
            ctx, key, stored, ttl_s, stale_s=self._stale_s(negative)
        )
        self._flights.void(key)  # what is under way may have read D1 or KV before the write
        self._keep(ctx, key, stored, expires_wall_us, self._runtime.now_us())

    async def delete(self, ctx: Context, key: str) -> Invalidation:
        """:meth:`delete_many` of one."""
        return await self.delete_many(ctx, [key])

    async def delete_many(self, ctx: Context, keys: Iterable[str]) -> Invalidation:
        """Delete ``keys`` from L1 and, each in its turn, from KV; what was done."""
        keys = list(dict.fromkeys(map(check_key, keys)))
        l1_deleted = self._forget(ctx, keys)
        kv_deleted = await self.l2.delete_many(ctx, keys)
        self._forget(ctx, keys)  # a look-up meanwhile may have read KV before the deletion
        return {
            "keys": len(keys),
            "l1_deleted": l1_deleted,
            "kv_deleted": kv_deleted,
            "kv_failed": len(keys) - kv_deleted,
            "elsewhere_within_s": self.elsewhere_within_s,
        }

    async def invalidate_by_prefix(self, ctx: Context, prefix: str) -> Invalidation:
        """Delete every key that starts with ``prefix``, as :meth:`delete_many` does.

        After 3 s the prefix is listed again behind the answer, for keys that other isolates were
        writing for the first time; the bound is that much longer. KV's listings may lag by a
        minute: keys that are younger than that elsewhere and that neither listing shows live on to
        their own end. To be sure of those, do it again a minute later.

        Raises:
            KVError: when the keys could not be listed; then only L1 was cleared.
        """
        l1_deleted = self._forget_prefix(ctx, prefix)
        keys = await self.l2.keys_to_delete(ctx, prefix)
        done = await self.delete_many(ctx, keys)
        self._forget_prefix(ctx, prefix)
        ctx.wait_until(self._again(ctx, prefix, frozenset(keys)))
        done["l1_deleted"] += l1_deleted
        done["elsewhere_within_s"] += SETTLE_S
        return done

    async def list_keys(self, ctx: Context, prefix: str, limit: int | None = None) -> list[str]:
        """The keys in KV that start with ``prefix``; see :meth:`L2Cache.list_keys`."""
        return await self.l2.list_keys(ctx, prefix, limit)

    async def clear(self, ctx: Context) -> int:
        """Empty L1 and delete every key of the known cache types from KV; how many KV deleted.

        All counts start from 0 again. Raises as :meth:`invalidate_by_prefix`.
        """
        self._forget_prefix(ctx, "")
        deleted = await self.l2.clear(ctx)
        self._forget_prefix(ctx, "")
        self.l1.clear()
        self.l2.reset_stats()
        self._tallies.clear()
        self.renewals_failed = 0
        return deleted

    def get_stats(self) -> dict[str, Any]:
        """What this isolate counted: each layer, look-ups by cache type, and all of them together.

        ``combined.hit_ratio`` is the ratio that the KPI means: look-ups that L1 or KV answered, of
        all look-ups; ``None`` before the first. Counts of several isolates can be added up.
        """
        by_type = {name: counts.stats() for name, counts in sorted(self._tallies.items())}
        return {
            "l1": self.l1.get_stats(),
            "l2": self.l2.get_stats(),
            "by_type": by_type,
            "combined": tally.total(by_type.values()),
            "renewals_failed": self.renewals_failed,
        }

    @property
    def elsewhere_within_s(self) -> int:
        """After how many seconds a written or deleted key is so in every isolate; see above."""
        return self._config.l1_ttl_s + max(self._config.kv_cache_ttl_s, KV_MIN_EXPIRATION_TTL_S)

    async def _join(
        self, ctx: Context, cache_type: str, key: str, fetch: Fetch | None, load: Latch
    ) -> _Loaded:
        """What another's load brings, or one of its own if that was cancelled."""
        joined: Latch | None = load
        while joined is not None:
            try:
                loaded: _Loaded = await joined.wait()
            except FetchAbandoned:
                joined = self._joinable(key)
                continue
            return loaded._replace(layer=tally.JOINED) if loaded.layer == tally.MISS else loaded
        return await self._load_for_all(ctx, cache_type, key, fetch)

    async def _load_for_all(
        self, ctx: Context, cache_type: str, key: str, fetch: Fetch | None
    ) -> _Loaded:
        if fetch is None:  # its "not cached" is no answer for those who could fetch
            return await self._load(ctx, cache_type, key, None, None)
        latch = self._runtime.latch()
        try:
            loaded = await self._load(ctx, cache_type, key, fetch, latch)
        except Exception as error:
            latch.fail(error)
            raise
        except BaseException:
            latch.fail(FetchAbandoned(key))
            raise
        latch.set(loaded)
        return loaded

    def _joinable(self, key: str) -> Latch | None:
        if not self._config.single_flight:
            return None
        return self._flights.joinable(key, self._runtime.now_us() - self._l1_life_us)

    async def _load(
        self, ctx: Context, cache_type: str, key: str, fetch: Fetch | None, latch: Latch | None
    ) -> _Loaded:
        """From KV, else from the source; a stale KV entry also sets off its renewal."""
        flight = self._flights.begin(check_key(key), self._runtime.now_us(), latch)
        try:
            found = await self.l2.get(ctx, key)
            if found is not None:
                stale = self._is_stale(found.expires_wall_us) if self._stale_window_s else False
                if not (stale or flight.void):
                    self._keep(ctx, key, found.text, found.expires_wall_us, flight.began_us)
                if stale and fetch is not None and key not in self._renewing:
                    ctx.wait_until(self._renew(ctx, cache_type, key, fetch))
                return _Loaded(found.text, tally.KV, stale)
            if fetch is None:
                raise NotCached(key)
            return _Loaded(await self._fetch(ctx, cache_type, key, fetch, flight), tally.MISS)
        finally:
            self._flights.end(key, flight)

    async def _fetch(
        self, ctx: Context, cache_type: str, key: str, fetch: Fetch, flight: Flight
    ) -> str:
        """What the source has under ``key``, kept in both layers unless it came too late."""
        asked_us = self._runtime.now_us()
        value = await fetch()
        if not (value is None or isinstance(value, str)):
            raise TypeError(f"a fetch brings a JSON text or None, not {type(value).__name__}")
        text = NOT_THERE if value is None else value
        took_us = self._runtime.now_us() - asked_us
        if flight.void or took_us >= self._l1_life_us:
            return text
        negative = value is None
        ttl_s, stale_s = KV_MIN_EXPIRATION_TTL_S, 0
        if took_us <= PROMPT_US:
            ttl_s = self._config.life_s(cache_type, key, negative=negative)
            stale_s = self._stale_s(negative)
        self._keep(ctx, key, text, self._runtime.wall_us() + ttl_s * 1_000_000, asked_us)
        ctx.wait_until(self.l2.fill(ctx, key, text, ttl_s, stale_s=stale_s))
        return text

    async def _renew(self, ctx: Context, cache_type: str, key: str, fetch: Fetch) -> None:
        """Fetch a stale key anew behind the answer, once in this isolate at a time.

        A failure is counted; the stale entry is served, and this tried again, until its end.
        """
        if key in self._renewing:
            return
        self._renewing.add(key)
        flight = self._flights.begin(key, self._runtime.now_us(), None)
        try:
            await self._fetch(ctx, cache_type, key, fetch, flight)
        except EdgeError:
            self.renewals_failed += 1
        finally:
            self._flights.end(key, flight)
            self._renewing.discard(key)

    async def _again(self, ctx: Context, prefix: str, done: frozenset[str]) -> None:
        """Delete what has come under ``prefix`` since; keys that were ``done`` came after it."""
        await self._runtime.sleep(SETTLE_S * 1_000_000)
        try:
            keys = await self.l2.keys_to_delete(ctx, prefix)
        except KVError:  # counted there; the answer has been given
            return
        if late := [key for key in keys if key not in done]:
            await self.delete_many(ctx, late)

    def _forget(self, ctx: Context, keys: Iterable[str]) -> int:
        """Drop ``keys`` from memory and void their loads; how many L1 had."""
        self._on_invalidate()
        keys = list(keys)
        for key in keys:
            self._flights.void(key)
        return self._l1_of(ctx).delete_many(keys)

    def _forget_prefix(self, ctx: Context, prefix: str) -> int:
        self._on_invalidate()
        self._flights.void_prefix(prefix)
        return self._l1_of(ctx).invalidate_by_prefix(prefix)

    def _keep(self, ctx: Context, key: str, text: str, expires_wall_us: int, asked_us: int) -> None:
        """Keep in L1 for its own life, counted from when it was asked for, or the rest of the KV
        entry's, whichever is shorter."""
        now_us = self._runtime.now_us()
        rest_us = expires_wall_us - self._runtime.wall_us()
        life_us = min(asked_us + self._l1_life_us - now_us, rest_us)
        if life_us > 0:
            self._l1_of(ctx).set(key, text, now_us + life_us)

    def _is_stale(self, expires_wall_us: int) -> bool:
        """Whether an entry is past its life; one that was not written by this cache has none."""
        return 0 < expires_wall_us <= self._runtime.wall_us()

    def _stale_s(self, negative: bool) -> int:
        """The stale window behind an entry's life. A "not there" has none: its life is short so
        that what arrives meanwhile shows."""
        return 0 if negative else self._stale_window_s

    def _l1_of(self, ctx: Context) -> L1Cache:
        if self._of_isolate:
            return self.l1
        if ctx.l1 is None:
            ctx.l1 = self._new_l1()
        return ctx.l1

    def _new_l1(self) -> L1Cache:
        config = self._config
        return L1Cache(
            self._runtime.now_us, config.l1_max_bytes, config.l1_max_entries, self._l1_counts
        )

    def _new_tally(self, cache_type: str) -> Tally:
        self._tallies[cache_type] = counts = Tally(cache_type)
        return counts
