"""What changes the cache: refreshing and invalidating, in both layers or in neither."""

from __future__ import annotations

from typing import Any

import pytest

from reference_impl.cache.manager import CacheManager, Invalidation
from reference_impl.config import StackConfig
from reference_impl.messages import Layer
from reference_impl.ports import KVError
from tests.reference_impl.fakes import SECOND_US, Edge

TYPE = "attribution"
CONFIG = StackConfig(l1_ttl_s=10, kv_cache_ttl_s=60)


@pytest.fixture
def cache(edge: Edge) -> CacheManager:
    return CacheManager(edge.runtime, CONFIG)


async def look(edge: Edge, cache: CacheManager, key: str, truth: str | None) -> tuple[Any, Layer]:
    """One look-up with ``truth`` at the source."""

    async def fetch() -> str | None:
        return truth

    ctx = edge.context()
    text = await cache.get(ctx, TYPE, key, fetch)
    return text, ctx.evidence.lookups[0].layer


def test_c31_a_refresh_reaches_both_layers(edge: Edge, cache: CacheManager) -> None:
    """After a refresh L1 has the new value, and so has KV, with its whole life before it."""

    async def work() -> None:
        await look(edge, cache, "k", '"v1"')
        await edge.sleep_s(2)
        await cache.set(edge.context(), TYPE, "k", '"v2"')
        assert await look(edge, cache, "k", None) == ('"v2"', Layer.L1)

    edge.run(work())
    assert edge.kv.text("k") == '"v2"'
    assert edge.kv.puts[-1].ttl_s == 3600


def test_a_refresh_can_say_that_nothing_is_there_any_more(edge: Edge, cache: CacheManager) -> None:
    """``None`` is cached as "not there", with the short life of such an answer."""

    async def work() -> None:
        await look(edge, cache, "k", '"v1"')
        await edge.sleep_s(2)
        await cache.set(edge.context(), TYPE, "k", None)
        assert await look(edge, cache, "k", '"v1"') == (None, Layer.L1)

    edge.run(work())
    assert edge.kv.puts[-1].ttl_s == CONFIG.kv_negative_ttl_s


def test_c26_both_layers_change_or_neither(edge: Edge, cache: CacheManager) -> None:
    """A refresh that KV refuses is an error, and L1 has not changed either."""

    async def work() -> None:
        await look(edge, cache, "k", '"v1"')
        await edge.sleep_s(2)
        edge.kv.fail_writes = KVError("KV PUT failed: 503", 503)
        with pytest.raises(KVError, match="503"):
            await cache.set(edge.context(), TYPE, "k", '"v2"')
        assert await look(edge, cache, "k", None) == ('"v1"', Layer.L1)

    edge.run(work())
    assert edge.kv.text("k") == '"v1"'


def test_c02_c03_an_invalidated_key_is_gone_from_both_layers(
    edge: Edge, cache: CacheManager
) -> None:
    """The next look-up goes to the source; keys that were not there are not counted for L1."""

    async def work() -> Invalidation:
        await look(edge, cache, "k", '"old"')
        await edge.sleep_s(2)
        done = await cache.delete_many(edge.context(), ["k", "unknown"])
        assert await look(edge, cache, "k", '"new"') == ('"new"', Layer.MISS)
        return done

    assert edge.run(work()) == {
        "keys": 2,
        "l1_deleted": 1,
        "kv_deleted": 2,
        "kv_failed": 0,
        "elsewhere_within_s": 70,
    }


def test_c03_another_isolate_follows_within_the_bound(edge: Edge, cache: CacheManager) -> None:
    """An isolate that was not told serves its copy for its L1 life and no longer."""
    other = CacheManager(edge.runtime, CONFIG)

    async def work() -> list[Any]:
        await look(edge, other, "k", '"old"')
        await edge.sleep_s(2)
        await cache.delete_many(edge.context(), ["k"])
        before = await look(edge, other, "k", '"new"')
        await edge.sleep_s(CONFIG.l1_ttl_s)
        return [before, await look(edge, other, "k", '"new"')]

    assert edge.run(work()) == [('"old"', Layer.L1), ('"new"', Layer.MISS)]


def test_c04_a_prefix_takes_all_pages(edge: Edge, cache: CacheManager) -> None:
    """2,500 keys are three pages; none is left, and another prefix keeps its own."""

    async def work() -> Invalidation:
        ctx = edge.context()
        for i in range(2_500):
            await edge.kv.put(f"a:{i}", "1")
        await look(edge, cache, "a:l1", '"v"')
        await look(edge, cache, "b:1", '"v"')
        await edge.sleep_s(2)
        return await cache.invalidate_by_prefix(ctx, "a:")

    edge.kv.delay_us = 10
    done = edge.run(work())
    assert (done["keys"], done["kv_deleted"], done["l1_deleted"]) == (2_501, 2_501, 1)
    assert edge.kv.text("b:1") == '"v"'
    assert edge.kv.text("a:0") is None
    assert cache.l1.get("a:l1") is None


def test_c20_failures_are_reported_not_hidden(edge: Edge, cache: CacheManager) -> None:
    """A deletion that KV refused is counted as failed; a listing that failed is an error."""

    async def work() -> Invalidation:
        await look(edge, cache, "k", '"v"')
        edge.kv.fail_writes = edge.kv.fail_reads = KVError("KV failed: 500", 500)
        with pytest.raises(KVError):
            await cache.invalidate_by_prefix(edge.context(), "k")
        return await cache.delete_many(edge.context(), ["k"])

    done = edge.run(work())
    assert (done["kv_deleted"], done["kv_failed"]) == (0, 1)


def test_a_key_named_twice_is_deleted_once(edge: Edge, cache: CacheManager) -> None:
    """KV would refuse the second deletion within a second, and the answer would be a failure."""
    done = edge.run(cache.delete_many(edge.context(), ["k", "k"]))
    assert (done["keys"], done["kv_deleted"], done["kv_failed"]) == (1, 1, 0)


def test_c25_deletions_run_side_by_side_within_a_limit(edge: Edge, cache: CacheManager) -> None:
    """30 deletions of 5 ms take five rounds of six, not thirty in a row."""
    edge.run(cache.delete_many(edge.context(), [f"k{i}" for i in range(30)]))
    assert edge.runtime.now_us() == 5 * edge.kv.delay_us


def test_c16_a_kv_entry_with_no_life_left_is_not_kept_in_l1(
    edge: Edge, cache: CacheManager
) -> None:
    """A copy that a node serves beyond its end does not live on in L1."""

    async def work() -> None:
        await edge.kv.put("k", '"v"', metadata={"e": edge.runtime.wall_us() - SECOND_US})
        assert await look(edge, cache, "k", None) == ('"v"', Layer.KV)

    edge.run(work())
    assert len(cache.l1) == 0
