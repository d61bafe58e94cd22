"""Workers KV in the world, as the binding of one invocation sees it.

A read walks from the node's memory or copy over the region's copy to the central store; each tier
has a latency law of its own. A write is visible in its own node when it is acknowledged (with a
documented exception), and elsewhere once copies have outlived the reader's ``cacheTtl``. Misses
are copied like values.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from reference_impl.adapters.kv_reads import KVReads
from reference_impl.adapters.kv_rules import check_key, check_list, check_put, page_of
from reference_impl.ports import KVEntry, KVError, KVList
from sim.invocation import Invocation
from sim.kv_store import GONE, NEVER_US, KVStore, Version
from sim.kv_tiers import CENTRAL, MEMORY, NODE, REGIONAL, Copy, KVNode

DEFAULT_CACHE_TTL_S = 60

BEHIND = 100
"""Draws of a refresh behind an answer are those of a read so much later in its invocation."""


class KVBinding(KVReads):
    """The KV binding of one invocation: the store's answers, after the delays of its place."""

    __slots__ = ("_inv", "_node", "_store")

    def __init__(self, inv: Invocation, store: KVStore, node: KVNode) -> None:
        self._inv = inv
        self._store = store
        self._node = node

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        """What this node sees under ``key``, from the nearest tier that has it young enough."""
        inv, node = self._inv, self._node
        life_us = (cache_ttl or DEFAULT_CACHE_TTL_S) * 1_000_000
        use, inv.kv_reads = inv.kv_reads, inv.kv_reads + 1
        async with inv.connections:
            now_us = inv.now_us()
            own_number = node.own_number(key)
            lately = node.note_read(key, now_us)
            copy = node.fresh(key, life_us, now_us)
            if copy is None:
                fetched, tier = await self._fetch((key,), life_us, use)
                copy = fetched[key]
            else:
                tier = await self._wait_here(use, in_memory=lately)
        node.reads[tier] += 1
        return self._seen(key, copy, own_number, life_us, now_us, use)

    async def read_many(self, keys: Sequence[str], cache_ttl: int | None) -> list[KVEntry]:
        """What this node sees under ``keys``: one operation, as slow as the farthest tier that
        one of them needs."""
        inv, node = self._inv, self._node
        life_us = (cache_ttl or DEFAULT_CACHE_TTL_S) * 1_000_000
        use, inv.kv_reads = inv.kv_reads, inv.kv_reads + 1
        async with inv.connections:
            now_us = inv.now_us()
            own_numbers = [node.own_number(key) for key in keys]
            lately = [node.note_read(key, now_us) for key in keys]
            found = {key: node.fresh(key, life_us, now_us) for key in keys}
            missing = [key for key, copy in found.items() if copy is None]
            if missing:
                fetched, tier = await self._fetch(missing, life_us, use)
                found.update(fetched)
            else:
                tier = await self._wait_here(use, in_memory=all(lately))
        node.reads[tier] += 1
        return [
            self._seen(key, copy, own_number, life_us, now_us, use)
            for (key, copy), own_number in zip(found.items(), own_numbers, strict=True)
            if copy is not None
        ]

    async def _wait_here(self, use: int, *, in_memory: bool) -> str:
        """Let the time of a read pass that this node answers itself; from which tier."""
        inv, draws = self._inv, self._inv.draws
        law = draws.kv_read_memory if in_memory else draws.kv_read_node
        await inv.sleep(law.us(inv.number, use))
        return MEMORY if in_memory else NODE

    def _seen(
        self, key: str, copy: Copy, own_number: int, life_us: int, now_us: int, use: int
    ) -> KVEntry:
        """What a copy tells a reader; one near its end is fetched anew behind that."""
        node, version = self._node, copy.version
        node.unseen_writes_read += version.number < own_number
        if node.is_ending(copy, life_us, now_us) and key not in node.refreshing:
            node.refreshing.add(key)
            self._inv.wait_until(self._refresh(key, life_us, use + BEHIND))
        return KVEntry(version.text, version.metadata)

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
        """One page of the keys in the central store, or what this node was told of it within the
        last minute: listings are as late as values."""
        request = check_list(prefix, limit, cursor)
        inv, node = self._inv, self._node
        use, inv.kv_reads = inv.kv_reads, inv.kv_reads + 1
        asked = (prefix, limit, cursor)
        page, fetched_us = node.pages.get(asked, (None, 0))
        async with inv.connections:
            if page is not None and inv.now_us() < fetched_us + DEFAULT_CACHE_TTL_S * 1_000_000:
                await inv.sleep(inv.draws.kv_read_node.us(inv.number, use))
                return _without_ended(page, inv.wall_us())
            await inv.sleep(inv.draws.kv_list.us(inv.number, use))
            self._check("LIST")
            page = page_of(self._store.keys(), request)
            node.pages[asked] = (page, inv.now_us())
            return page

    async def _fetch(
        self, keys: Sequence[str], life_us: int, use: int
    ) -> tuple[dict[str, Copy], str]:
        """Copies younger than ``life_us``: the region's, or else the central store's."""
        inv, node = self._inv, self._node
        asked_us = inv.now_us()
        found = {key: node.region.fresh(key, life_us, asked_us) for key in keys}
        near = all(found.values())
        law = inv.draws.kv_read_regional if near else inv.draws.kv_read_central
        await inv.sleep(law.us(inv.number, use))
        if not near:
            self._check("GET")
        copies: dict[str, Copy] = {}
        for key, shared in found.items():
            if shared is None:
                copies[key] = copy = Copy(self._store.read(key), inv.now_us())
                node.region.take(key, copy, asked_us)
            else:
                copies[key] = shared
            node.take(key, copies[key], asked_us)
        return copies, REGIONAL if near else CENTRAL

    async def _refresh(self, key: str, life_us: int, use: int) -> None:
        """Fetch a copy near its end anew; nobody waits for it."""
        try:
            with suppress(KVError):  # the copy is served to its end
                await self._fetch([key], life_us - self._node.ahead_us(life_us), use)
        finally:
            self._node.refreshing.discard(key)

    def _check(self, operation: str) -> None:
        """Fail what has to ask the central store while that is out."""
        if self._store.is_out():
            raise KVError(f"KV {operation} failed: 503 Service Unavailable", 503)

    async def _write(self, key: str, version: Version) -> None:
        inv, store = self._inv, self._store
        use, inv.kv_writes = inv.kv_writes, inv.kv_writes + 1
        async with inv.connections:
            accepted = store.claim_write(key)
            version = version._replace(number=store.next_number())
            await inv.sleep(inv.draws.kv_write.us(inv.number, use))
            if not accepted:
                raise KVError("KV PUT failed: 429 Too Many Requests", 429)
            self._check("PUT")
        store.write(key, version)
        seen = not inv.draws.kv_own_write_unseen.happens(inv.number, use)
        self._node.wrote(key, version, inv.now_us(), seen=seen)


def _without_ended(page: KVList, wall_us: int) -> KVList:
    """A repeated page without the keys whose lives are over by now."""
    keys = [k for k in page.keys if k.expiration is None or k.expiration * 1_000_000 > wall_us]
    return replace(page, keys=tuple(keys))
