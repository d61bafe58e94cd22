"""The copies of KV entries: in a node's memory, at the node, and shared by a region's nodes.

A copy keeps the instant at which it came from the central store, wherever it is handed on: its
age travels with it, so a reader's ``cacheTtl`` bounds the age over all tiers together.
https://developers.cloudflare.com/kv/concepts/how-kv-works/
"""

from __future__ import annotations

from typing import NamedTuple

from reference_impl.ports import KVList
from scenarios.services import KV
from sim.kv_store import KVStore, Version

MEMORY, NODE, REGIONAL, CENTRAL = TIERS = ("memory", "node", "regional", "central")
"""Who answers a read, from the nearest to the farthest."""

LONG_AGO_US = -(2**62)

Listing = tuple[str | None, int | None, str | None]
"""What a page of a listing is asked by: prefix, limit, cursor."""


class Copy(NamedTuple):
    """A version as the central store had it at ``fetched_us``, or as it was written here."""

    version: Version
    fetched_us: int
    own: bool = False


class Copies:
    """What one tier holds."""

    def __init__(self, store: KVStore) -> None:
        self._store = store
        self._copies: dict[str, Copy] = {}

    def fresh(self, key: str, life_us: int, now_us: int) -> Copy | None:
        """The copy if it is young enough for this reader; ``None`` sends it onwards."""
        copy = self._copies.get(key)
        if copy is None or now_us >= copy.fetched_us + life_us:
            return None
        if now_us >= copy.version.expires_us or self._store.is_purged(key, copy.fetched_us, now_us):
            return None
        return copy

    def keep(self, key: str, copy: Copy) -> None:
        """Hold ``copy`` in the place of any other."""
        self._copies[key] = copy

    def take(self, key: str, copy: Copy, asked_us: int) -> None:
        """Hold what was asked for at ``asked_us``, unless something newer has come meanwhile or
        ``key`` was written here."""
        held = self._copies.get(key)
        if held is not None and (
            held.fetched_us > copy.fetched_us or (held.own and held.fetched_us >= asked_us)
        ):
            return
        self._copies[key] = copy


class KVNode(Copies):
    """What one edge node holds, which of it lies in memory, and its share of the counting."""

    def __init__(self, store: KVStore, region: Copies, settings: KV) -> None:
        super().__init__(store)
        self.region = region
        self.refreshing: set[str] = set()
        self.pages: dict[Listing, tuple[KVList, int]] = {}
        self.reads = dict.fromkeys(TIERS, 0)
        self.unseen_writes_read = 0
        self._memory_us = round(settings.memory_s * 1_000_000)
        self._refresh_ahead = settings.refresh_ahead
        self._read_us: dict[str, int] = {}
        self._own: dict[str, int] = {}

    def note_read(self, key: str, now_us: int) -> bool:
        """Note a read; whether the one before is recent enough for the copy to lie in memory."""
        last_us = self._read_us.get(key, LONG_AGO_US)
        self._read_us[key] = now_us
        return now_us - last_us < self._memory_us

    def is_ending(self, copy: Copy, life_us: int, now_us: int) -> bool:
        """Whether a read of ``copy`` now has it fetched anew."""
        return now_us - copy.fetched_us >= life_us - self.ahead_us(life_us)

    def ahead_us(self, life_us: int) -> int:
        """How long before the end of its life a copy is refreshed by the next read."""
        return int(life_us * self._refresh_ahead)

    def wrote(self, key: str, version: Version, now_us: int, *, seen: bool) -> None:
        """This node's write is acknowledged; unless ``seen`` its readers do not see it yet."""
        if version.number < self.own_number(key):
            return  # accepted before another that was acknowledged first
        self._own[key] = version.number
        if seen:
            self.keep(key, Copy(version, now_us, own=True))

    def own_number(self, key: str) -> int:
        """The number of this node's last acknowledged write of ``key``; 0 if there is none."""
        return self._own.get(key, 0)
