"""Scope of L1, single-flight off, lives, stale hits, jitter, time-outs, and what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.cache.manager import CacheManager, NotCached
from reference_impl.config import StackConfig, check_ttl
from reference_impl.keys import cache_key, stable_share
from reference_impl.messages import Layer, Lookup
from reference_impl.ports import D1Error, KVEntry, KVError
from tests.reference_impl.fakes import SECOND_US, Edge, FakeKV
from tests.reference_impl.looking import TYPE, Source, look


@pytest.fixture
def source(edge: Edge) -> Source:
    source = Source(edge)
    source.values["k"] = '"v"'
    return source


# --------------------------------------------------------------------------- the seed's own set-up


def test_c15_a_request_scoped_l1_is_empty_between_requests(edge: Edge, source: Source) -> None:
    """Within one invocation the second look-up is an L1 hit; the next invocation asks KV."""
    cache = CacheManager(edge.runtime, StackConfig(l1_scope="request"))

    async def work() -> list[Layer]:
        layers = []
        for ctx in (edge.context(), edge.context()):
            layers += [(await look(cache, source, ctx=ctx))[1].layer for _ in range(2)]
            await edge.sleep_s(1)
        return layers

    assert edge.run(work()) == [Layer.MISS, Layer.L1, Layer.KV, Layer.L1]
    assert len(cache.l1) == 0
    stats = cache.get_stats()["l1"]
    assert (stats["hits"], stats["misses"], stats["sets"]) == (2, 2, 2)


def test_c02_a_request_forgets_what_it_invalidates(edge: Edge, source: Source) -> None:
    """Deleting reaches the invocation's own memory too."""
    cache = CacheManager(edge.runtime, StackConfig(l1_scope="request"))
    ctx = edge.context()

    async def work() -> str | None:
        await look(cache, source, ctx=ctx)
        source.values["k"] = '"new"'
        assert (await cache.delete(ctx, "k"))["l1_deleted"] == 1
        return (await look(cache, source, ctx=ctx))[0]

    assert edge.run(work()) == '"new"'


def test_c12_without_single_flight_everybody_fetches(edge: Edge, source: Source) -> None:
    """The seed's literal way: 50 look-ups at once are 50 misses and 50 fetches."""
    cache = CacheManager(edge.runtime, StackConfig(single_flight=False))

    async def work() -> Counter[Layer]:
        found = await edge.runtime.gather(look(cache, source) for _ in range(50))
        return Counter(lookup.layer for _, lookup in found)

    assert edge.run(work()) == {Layer.MISS: 50}
    assert (edge.kv.reads, source.reads["k"], len(edge.kv.puts)) == (50, 50, 1)


# --------------------------------------------------------------------------- without a fetch


def test_c30_never_asked_is_not_the_same_as_not_there(edge: Edge, source: Source) -> None:
    """Without a fetch an unknown key is an error, a cached "not there" is an answer."""
    cache = CacheManager(edge.runtime, StackConfig())
    ctx = edge.context()

    async def work() -> None:
        with pytest.raises(NotCached):
            await cache.get(ctx, TYPE, "gone")
        await look(cache, source, "gone")
        assert await cache.get(ctx, TYPE, "gone") is None

    edge.run(work())
    assert ctx.evidence.lookups == [Lookup(TYPE, Layer.MISS), Lookup(TYPE, Layer.L1, True)]


def test_c12_a_look_up_without_a_fetch_takes_nobody_with_it(edge: Edge, source: Source) -> None:
    """Who could fetch does not join the load of one who could not."""
    cache = CacheManager(edge.runtime, StackConfig())

    async def peek() -> None:
        with pytest.raises(NotCached):
            await cache.get(edge.context(), TYPE, "k")

    async def work() -> str | None:
        peeking = edge.runtime.spawn(peek())
        await edge.runtime.sleep(1)
        text, _ = await look(cache, source)
        await peeking
        return text

    assert edge.run(work()) == '"v"'


@pytest.mark.parametrize("value", [7, {"n": 1}, b"v", False])
def test_c10_what_is_no_text_is_an_error_and_nothing_is_written(edge: Edge, value: Any) -> None:
    """A fetch that brings neither a JSON text nor ``None`` is a mistake of the program."""
    cache = CacheManager(edge.runtime, StackConfig())
    ctx = edge.context()

    async def fetch() -> Any:
        return value

    async def work() -> None:
        with pytest.raises(TypeError, match="a JSON text or None"):
            await cache.get(ctx, TYPE, "k", fetch)

    edge.run(work())
    assert (edge.kv.puts, len(cache.l1)) == ([], 0)
    assert ctx.evidence.lookups == [Lookup(TYPE, Layer.MISS)]


# --------------------------------------------------------------------------- lives


@pytest.mark.parametrize("ttl_s", [59, 0, -1, 300_000 / 1000, True, None])
def test_c07_a_life_under_a_minute_is_an_error(ttl_s: Any) -> None:
    """One unit, whole seconds, from KV's minimum up; nothing is clamped, nothing swallowed."""
    with pytest.raises(ValueError, match="from 60, not"):
        check_ttl(ttl_s)
    assert check_ttl(60) == 60


def test_c06_c07_a_custom_life_is_in_seconds(edge: Edge) -> None:
    """``set`` hands its seconds to KV; too few of them change neither layer."""
    cache = CacheManager(edge.runtime, StackConfig())

    async def work() -> None:
        await cache.set(edge.context(), TYPE, "k", '"v"', ttl_s=300)
        with pytest.raises(ValueError, match="not 59"):
            await cache.set(edge.context(), TYPE, "k", '"w"', ttl_s=59)

    edge.run(work())
    assert [put.ttl_s for put in edge.kv.puts] == [300]
    assert edge.kv.text("k") == cache.l1.get("k") == '"v"'


@pytest.mark.parametrize(
    "parts",
    [
        {"kv_expiration_ttl_s": {"default": 59}},
        {"kv_expiration_ttl_s": {"attribution": 60}},
        {"kv_negative_ttl_s": 59},
        {"kv_cache_ttl_s": 29},
        {"kv_stale_ttl_s": -1},
        {"kv_ttl_jitter": 0.6},
        {"kv_read_timeout_us": -1},
        {"l1_ttl_s": 0},
        {"l1_scope": "global"},
    ],
)
def test_c07_settings_that_kv_would_refuse_are_refused_at_once(parts: dict[str, Any]) -> None:
    """A deployment does not start with lives that no write could have."""
    with pytest.raises(ValueError):  # noqa: PT011 - nine messages, one type
        StackConfig(**parts)


@given(st.text(max_size=20), st.floats(0, 0.5), st.integers(60, 10_000))
def test_jitter_only_shortens_and_depends_on_the_key_alone(
    name: str, jitter: float, ttl_s: int
) -> None:
    """Off by at most the share, never under 60 s, the same for the same key, whole seconds."""
    config = StackConfig(kv_ttl_jitter=jitter, kv_expiration_ttl_s={"default": ttl_s})
    key = cache_key(TYPE, name)
    life_s = config.life_s(TYPE, key, negative=False)
    assert max(60, ttl_s * (1 - jitter) - 1e-6) <= life_s <= ttl_s
    assert life_s == config.life_s(TYPE, key, negative=False)
    assert type(life_s) is int


def test_jitter_leaves_a_minute() -> None:
    """A life of 70 s that is cut by up to half is never one that KV would refuse."""
    config = StackConfig(kv_ttl_jitter=0.5, kv_expiration_ttl_s={"default": 70})
    lives = [config.life_s(TYPE, f"k{i}", negative=False) for i in range(100)]
    assert (min(lives), 60 < max(lives) <= 70) == (60, True)


def test_jitter_spreads_keys_evenly() -> None:
    """1,000 keys of one TTL end over the whole share, about as many in each quarter of it."""
    shares = Counter(int(4 * stable_share(f"k{i}")) for i in range(1_000))
    assert sorted(shares) == [0, 1, 2, 3]
    assert all(200 < count < 300 for count in shares.values())
    lives = [StackConfig(kv_ttl_jitter=0.5).life_s(TYPE, k, negative=False) for k in ("a", "b")]
    assert lives[0] != lives[1]


# --------------------------------------------------------------------------- stale hits

STALE = StackConfig(
    l1_ttl_s=10, kv_expiration_ttl_s={"default": 100}, kv_cache_ttl_s=60, kv_stale_ttl_s=50
)


@pytest.mark.parametrize("single_flight", [True, False])
def test_a_stale_entry_is_served_and_renewed_once(
    edge: Edge, source: Source, single_flight: bool
) -> None:
    """Past its life: 20 look-ups at once are hits marked stale, one fetch goes on behind them,
    and the next look-up has the new value."""
    cache = CacheManager(edge.runtime, replace(STALE, single_flight=single_flight))

    async def work() -> list[tuple[str | None, Lookup]]:
        await look(cache, source)
        await edge.sleep_s(101)
        source.values["k"] = '"new"'
        stale = await edge.runtime.gather(look(cache, source) for _ in range(20))
        await edge.sleep_s(1)
        return [*stale, await look(cache, source)]

    answers = edge.run(work())
    assert answers[:-1] == [('"v"', Lookup(TYPE, Layer.KV, stale=True))] * 20
    assert answers[-1] == ('"new"', Lookup(TYPE, Layer.L1))
    assert source.reads["k"] == 2
    assert [put.ttl_s for put in edge.kv.puts] == [150, 150]
    assert cache.get_stats()["combined"]["stale_hits"] == 20


@pytest.mark.parametrize(("after_s", "layer"), [(98, Layer.KV), (149, Layer.KV), (151, Layer.MISS)])
def test_the_stale_window_ends(edge: Edge, source: Source, after_s: int, layer: Layer) -> None:
    """Fresh for 100 s, stale for 50 more, then a miss like any other."""
    cache = CacheManager(edge.runtime, STALE)

    async def work() -> Lookup:
        await look(cache, source)
        await edge.sleep_s(after_s)
        return (await look(cache, source))[1]

    assert edge.run(work()) == Lookup(TYPE, layer, stale=after_s == 149)


def test_a_renewal_that_fails_is_counted_and_tried_again(edge: Edge, source: Source) -> None:
    """With D1 down a stale entry is served until its end, and nothing is raised."""
    cache = CacheManager(edge.runtime, STALE)

    async def work() -> list[bool]:
        await look(cache, source)
        await edge.sleep_s(101)
        source.error = D1Error("D1_ERROR: overloaded")
        found = []
        for _ in range(3):
            found.append((await look(cache, source))[1].stale)
            await edge.sleep_s(1)
        return found

    assert edge.run(work()) == [True] * 3
    assert (cache.renewals_failed, source.reads["k"]) == (3, 4)


def test_c31_a_renewal_from_before_a_write_is_not_kept(edge: Edge, source: Source) -> None:
    """A slow renewal does not put its older value over one that was set meanwhile."""
    cache = CacheManager(edge.runtime, STALE)

    async def work() -> None:
        await look(cache, source)
        await edge.sleep_s(101)
        source.delay_us = 800_000
        await look(cache, source)
        await cache.set(edge.context(), TYPE, "k", '"set"')

    edge.run(work())
    assert edge.kv.text("k") == cache.l1.get("k") == '"set"'


def test_not_there_is_never_stale(edge: Edge, source: Source) -> None:
    """A cached "not there" ends with its short life: what has arrived since shows."""
    cache = CacheManager(edge.runtime, STALE)

    async def work() -> str | None:
        await look(cache, source, "gone")
        source.values["gone"] = '"here"'
        await edge.sleep_s(61)
        return (await look(cache, source, "gone"))[0]

    assert edge.run(work()) == '"here"'


# --------------------------------------------------------------------------- a slow KV


class HangingKV(FakeKV):
    """Reads that never come back."""

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        await self._runtime.latch().wait()
        raise AssertionError


def test_c27_a_kv_that_hangs_does_not_hang_the_request(edge: Edge, source: Source) -> None:
    """After its time a KV read counts as an error, and the source answers."""
    cache = CacheManager(edge.runtime, StackConfig(kv_read_timeout_us=2 * SECOND_US))
    ctx = edge.context()
    ctx.kv = HangingKV(edge.runtime)

    async def work() -> tuple[str | None, Lookup, int]:
        text, lookup = await look(cache, source, ctx=ctx)
        return text, lookup, edge.runtime.now_us()

    expected_us = 2 * SECOND_US + source.delay_us
    assert edge.run(work()) == ('"v"', Lookup(TYPE, Layer.MISS), expected_us)
    assert cache.l2.read_errors == 1


def test_a_read_within_its_time_is_an_ordinary_hit(edge: Edge, source: Source) -> None:
    """The time-out changes nothing for a KV that answers."""
    cache = CacheManager(edge.runtime, StackConfig(kv_read_timeout_us=5_001, l1_ttl_s=1))

    async def work() -> Layer:
        await look(cache, source)
        await edge.sleep_s(2)
        return (await look(cache, source))[1].layer

    assert edge.run(work()) is Layer.KV
    assert cache.l2.read_errors == 0


# --------------------------------------------------------------------------- what else remembers


def test_c05_invalidation_reaches_the_query_cache(edge: Edge, source: Source) -> None:
    """Whoever was given is told at the begin and the end, before the answer; a look-up behind it
    reads the source anew."""
    told: list[int] = []
    cache = CacheManager(edge.runtime, StackConfig(), lambda: told.append(edge.runtime.now_us()))

    async def work() -> tuple[str | None, int]:
        await look(cache, source)
        await edge.sleep_s(2)
        source.values["k"] = '"new"'
        await cache.delete_many(edge.context(), ["k"])
        ended_us = edge.runtime.now_us()
        return (await look(cache, source))[0], ended_us

    text, ended_us = edge.run(work())
    assert text == '"new"'
    assert told == [ended_us - edge.kv.delay_us, ended_us]


# --------------------------------------------------------------------------- the seed's surface


def test_c32_clear_takes_the_caches_own_keys_only(edge: Edge, source: Source) -> None:
    """Keys of the known types leave both layers, with all counts; another program's key stays."""
    cache = CacheManager(edge.runtime, StackConfig())

    async def work() -> tuple[int, list[str]]:
        ctx = edge.context()
        await edge.kv.put("sessions:1", "theirs")
        for name in ("attribution:1", "lookupData:2", "attribution:3"):
            await look(cache, source, name)
        await edge.sleep_s(2)
        return await cache.clear(ctx), await cache.list_keys(ctx, "")

    assert edge.run(work()) == (3, ["sessions:1"])
    stats = cache.get_stats()
    assert (stats["l1"]["entries"], stats["l1"]["sets"], stats["by_type"]) == (0, 0, {})
    assert (stats["l2"]["deletes"], stats["combined"]["hit_ratio"]) == (0, None)


def test_c17_the_ratio_that_the_kpi_means(edge: Edge, source: Source) -> None:
    """A miss, ten hits in L1, one in KV, a miss with KV down: 11 of 13, whatever layer it was."""
    cache = CacheManager(edge.runtime, StackConfig())

    async def work() -> dict[str, Any]:
        for _ in range(11):
            await look(cache, source)
        await edge.sleep_s(10)
        await look(cache, source)
        await cache.delete(edge.context(), "k")
        edge.kv.fail_reads = KVError("KV GET failed: 500", 500)
        await look(cache, source, "other")
        return cache.get_stats()

    stats = edge.run(work())
    assert stats["combined"] == {
        "l1": 10, "kv": 1, "miss": 2, "joined": 0, "lookups": 13, "hits": 11,
        "misses": 2, "hit_ratio": 11 / 13, "negative_hits": 0, "stale_hits": 0,
    }  # fmt: skip
    assert stats["by_type"] == {TYPE: stats["combined"]}
    l1, l2 = stats["l1"], stats["l2"]
    assert (l1["hits"], l1["misses"], l1["sets"], l1["deletes"]) == (10, 3, 3, 1)
    assert (l2["hits"], l2["misses"], l2["sets"], l2["deletes"]) == (1, 1, 1, 1)
    assert (l2["read_errors"], l2["hit_ratio"]) == (1, 0.5)
