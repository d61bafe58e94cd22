"""Errata of the caches (group C) that run through several parts of the stack at once."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.keys import KV_MAX_KEY_BYTES, cache_key
from tests.reference_impl.fakes import Edge
from tests.reference_impl.looking import TYPE, Source, look
from tests.reference_impl.touches import touch
from tests.sim.emulated import NODES, TOKEN, Session, play

JOURNEYS = "userJourneys"


class Isolate:
    """A cache manager before a query optimizer whose answers it keeps, as one isolate has them."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.queries = QueryOptimizer(edge.runtime)
        self.cache = CacheManager(edge.runtime, StackConfig(), self._forget)

    def _forget(self) -> None:
        self.queries.invalidate_cache("*")

    async def rows(self, user_id: str = "u1") -> int:
        """How many touches the cached journey of a user has, all caches asked in their order."""
        ctx = self.edge.context()

        async def fetch() -> str:
            return json.dumps(await self.queries.get_user_journey(ctx, user_id))

        text = await self.cache.get(ctx, JOURNEYS, cache_key(JOURNEYS, user_id), fetch)
        return len(json.loads(text or "[]"))


@pytest.mark.parametrize("by", ["keys", "prefix"])
def test_c05_an_invalidation_reaches_all_three_caches(edge: Edge, by: str) -> None:
    """A row that came behind the stack's back: hidden by L1, KV and the query cache alike, and
    there right after an invalidation, since the fallback reads D1 and not the answer of before."""
    isolate = Isolate(edge)

    async def work() -> list[int]:
        await touch(edge, isolate.queries, "a", event_id="1")
        found = [await isolate.rows()]
        edge.rows(
            "INSERT INTO user_journeys (user_id, event_name, event_timestamp, created_at)"
            " VALUES ('u1', 'touch', '2026-02-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z')"
        )
        await edge.sleep_s(2)
        found.append(await isolate.rows())
        assert len(isolate.queries.cache) == 1
        if by == "keys":
            await isolate.cache.delete_many(edge.context(), [cache_key(JOURNEYS, "u1")])
        else:
            await isolate.cache.invalidate_by_prefix(edge.context(), f"{JOURNEYS}:")
        return [*found, await isolate.rows()]

    assert edge.run(work()) == [1, 1, 2]


@pytest.mark.parametrize("key", ["x" * 513, "\u00e9" * 257, "", ".", ".."])
def test_c11_a_key_that_kv_refuses_is_an_error(edge: Edge, key: str) -> None:
    """Read, written or deleted: an error to who asked, before anything travels. It would be a
    miss for ever, each time paid by D1."""
    cache, source = CacheManager(edge.runtime, StackConfig()), Source(edge)

    async def work() -> None:
        with pytest.raises(ValueError, match="key"):
            await look(cache, source, key)
        with pytest.raises(ValueError, match="key"):
            await cache.set(edge.context(), TYPE, key, '"v"')
        with pytest.raises(ValueError, match="key"):
            await cache.delete_many(edge.context(), ["good", key])

    edge.run(work())
    assert (edge.kv.reads, edge.kv.puts, source.reads, len(cache.l1)) == (0, [], {}, 0)
    longest = "\u00e9" * (KV_MAX_KEY_BYTES // 2)
    assert edge.run(look(cache, source, longest))[0] is None


@pytest.mark.parametrize("key", [123, None, b"k", 1.5])
def test_c29_a_key_that_is_no_text_is_an_error(edge: Edge, key: Any) -> None:
    """L1 would tell 123 from '123' and KV would not; so neither is asked."""
    cache, source = CacheManager(edge.runtime, StackConfig()), Source(edge)

    async def work() -> None:
        with pytest.raises(TypeError, match="a key is a text"):
            await look(cache, source, key)
        with pytest.raises(TypeError, match="a key is a text"):
            await cache.set(edge.context(), TYPE, key, '"v"')
        with pytest.raises(TypeError, match="a key is a text"):
            await cache.delete(edge.context(), key)

    edge.run(work())
    assert (edge.kv.reads, edge.kv.puts) == (0, [])


def test_c21_statistics_are_those_of_the_deployment() -> None:
    """Traffic at two edge nodes is one count, whichever of them answers for it."""

    async def work(session: Session) -> None:
        for node in ("fra", "fra", "iad", "iad", "iad"):
            await session.look_up(node=node)
        answers = [
            await session.http.get("/api/performance/cache-stats", headers={**TOKEN, **at})
            for at in ({"x-edgekpi-node": "fra"}, {"x-edgekpi-node": "iad"})
        ]
        for answer in answers:
            count = _counted(answer)
            assert (count["lookups"], count["l1"], count["kv"], count["miss"]) == (5, 3, 1, 1)
            assert count["hit_ratio"] == 0.8

    play(work, edge={"nodes": NODES})


def _counted(answer: httpx.Response) -> dict[str, Any]:
    count: dict[str, Any] = answer.json()["data"]["cache"]["all"]
    return count
