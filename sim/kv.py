"""Workers KV in the world: a central store, and at each node a copy that may be old.

A write is visible in its own node when it is acknowledged, and elsewhere once a node's copy has
outlived the reader's ``cacheTtl``. Misses are copied like values. Entries carry the instant from
which they count, so that propagation needs no event.
https://developers.cloudflare.com/kv/concepts/how-kv-works/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reference_impl.adapters.kv_reads import KVReads
from reference_impl.adapters.kv_rules import check_key, check_list, check_put, page_of
from reference_impl.ports import KVEntry, KVError, KVKey, KVList, Runtime
from sim.invocation import Invocation

NEVER_US = 2**62
DEFAULT_CACHE_TTL_S = 60


class Version(NamedTuple):
    """One written state of a key: ``text`` is ``None`` for a deletion.

    It ends at ``expires_us`` of the runtime's clock, which is ``expires_s`` of the time of day.
    """

    text: str | bytes | None
    metadata: Any
    expires_us: int
    expires_s: int | None = None


GONE = Version(None, None, NEVER_US)


class _Written(NamedTuple):
    """A version of a key, and from when on other nodes see it."""

    version: Version
    visible_us: int


class _Copy(NamedTuple):
    """What a node holds of a key, since when, and whether it was written here."""

    version: Version
    fetched_us: int
    own: bool


class KVStore:
    """The central store of one namespace."""

    def __init__(self, runtime: Runtime, propagation_us: int, write_spacing_us: int) -> None:
        self._runtime = runtime
        self._propagation_us = propagation_us
        self._write_spacing_us = write_spacing_us
        self._written: dict[str, list[_Written]] = {}  # what is visible, and what will be
        self._last_write_us: dict[str, int] = {}
        self.writes = 0
        self.writes_refused = 0

    def read(self, key: str) -> Version:
        """What the central store answers a node that asks now."""
        now_us = self._runtime.now_us()
        for version, visible_us in reversed(self._written.get(key, ())):
            if now_us >= visible_us:
                return version if now_us < version.expires_us else GONE
        return GONE

    def write(self, key: str, version: Version, *, visible_us: int | None = None) -> None:
        """Make ``version`` the newest state; others see it after the propagation delay."""
        if visible_us is None:
            visible_us = self._runtime.now_us() + self._propagation_us
        coming = [w for w in self._written.get(key, ()) if w.visible_us > self._runtime.now_us()]
        seen = _Written(self.read(key), 0)
        self._written[key] = [seen, *coming, _Written(version, visible_us)]

    def claim_write(self, key: str) -> bool:
        """Whether ``key`` may be written now: the service takes one write a second of a key."""
        now_us = self._runtime.now_us()
        last_us = self._last_write_us.get(key)
        if last_us is not None and now_us - last_us < self._write_spacing_us:
            self.writes_refused += 1
            return False
        self._last_write_us[key] = now_us
        self.writes += 1
        return True

    def keys(self) -> list[KVKey]:
        """Every key that has a value now."""
        versions = ((key, self.read(key)) for key in self._written)
        return [
            KVKey(key, version.expires_s, version.metadata)
            for key, version in versions
            if version.text is not None
        ]


class KVNodeCache:
    """The copies that one edge node holds."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._copies: dict[str, _Copy] = {}

    def fresh(self, key: str, cache_ttl_us: int) -> Version | None:
        """The node's copy if it is young enough for this reader; ``None`` sends it onwards."""
        copy = self._copies.get(key)
        now_us = self._runtime.now_us()
        if copy is None or now_us >= copy.fetched_us + cache_ttl_us:
            return None
        return copy.version if now_us < copy.version.expires_us else None

    def keep(self, key: str, version: Version, fetched_us: int, *, own: bool = False) -> None:
        """Hold a copy that was fetched, or written here (``own``), at ``fetched_us``."""
        self._copies[key] = _Copy(version, fetched_us, own)

    def keep_fetched(self, key: str, version: Version, asked_us: int, fetched_us: int) -> None:
        """Hold what the central store answered, unless this node wrote ``key`` meanwhile."""
        copy = self._copies.get(key)
        if copy is None or not copy.own or copy.fetched_us < asked_us:
            self.keep(key, version, fetched_us)


class KVBinding(KVReads):
    """The KV binding of one invocation: the store's answers, after the delays of its place."""

    __slots__ = ("_cache", "_inv", "_store")

    def __init__(self, inv: Invocation, store: KVStore, cache: KVNodeCache) -> None:
        self._inv = inv
        self._store = store
        self._cache = cache

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        """What this node sees under ``key``, from its own copy or from the central store."""
        return (await self.read_many((key,), cache_ttl))[0]

    async def read_many(self, keys: Sequence[str], cache_ttl: int | None) -> list[KVEntry]:
        """What this node sees under ``keys``: one operation, which goes to the central store if
        any of its own copies is missing or too old."""
        inv, cache = self._inv, self._cache
        use, inv.kv_reads = inv.kv_reads, inv.kv_reads + 1
        cache_ttl_us = (cache_ttl or DEFAULT_CACHE_TTL_S) * 1_000_000
        versions = {key: cache.fresh(key, cache_ttl_us) for key in keys}
        stale = [key for key, version in versions.items() if version is None]
        if not stale:
            await inv.sleep(inv.draws.kv_read_node.us(inv.number, use))
        else:
            asked_us = inv.now_us()
            await inv.sleep(inv.draws.kv_read_central.us(inv.number, use))
            for key in stale:
                versions[key] = version = self._store.read(key)
                cache.keep_fetched(key, version, asked_us, inv.now_us())
        return [KVEntry(each.text, each.metadata) for each in versions.values() if each]

    async def put(
        self,
        key: str,
        value: str | bytes,
        expiration_ttl: float | None = None,
        expiration: float | None = None,
        metadata: Any = None,
    ) -> None:
        """Write ``value``.

        Raises:
            KVError: 400, 413 or 414 for what KV never takes, 429 for a second write in a second.
        """
        now_us, wall_us = self._inv.now_us(), self._inv.wall_us()
        put = check_put(key, value, wall_us / 1e6, expiration_ttl, expiration, metadata)
        ends_us = (
            NEVER_US if put.expires_s is None else now_us + put.expires_s * 1_000_000 - wall_us
        )
        await self._write(key, Version(put.value, metadata, ends_us, put.expires_s))

    async def delete(self, key: str) -> None:
        """Write that there is nothing; the same rate and the same delay as a value."""
        check_key(key, "DELETE")
        await self._write(key, GONE)

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        """One page of the keys in the central store."""
        request = check_list(prefix, limit, cursor)
        inv = self._inv
        use, inv.kv_reads = inv.kv_reads, inv.kv_reads + 1
        await inv.sleep(inv.draws.kv_read_central.us(inv.number, use))
        return page_of(self._store.keys(), request)

    async def _write(self, key: str, version: Version) -> None:
        inv = self._inv
        use, inv.kv_writes = inv.kv_writes, inv.kv_writes + 1
        accepted = self._store.claim_write(key)
        await inv.sleep(inv.draws.kv_write.us(inv.number, use))
        if not accepted:
            raise KVError("KV PUT failed: 429 Too Many Requests", 429)
        self._store.write(key, version)
        self._cache.keep(key, version, inv.now_us(), own=True)
