"""CacheManager: L1, then KV, then one fetch; checked against what a dull reader would expect."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.cache.l2 import NOT_THERE
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.messages import HITS, Layer, Lookup
from reference_impl.ports import D1Error, KVError
from sim.bridge import Cancelled
from tests.reference_impl.fakes import SECOND_US, Edge, FakeContext
from tests.reference_impl.looking import TYPE, Source, look

CONFIG = StackConfig(
    l1_ttl_s=10, kv_expiration_ttl_s={TYPE: 100, "default": 70}, kv_negative_ttl_s=60
)


@pytest.fixture
def source(edge: Edge) -> Source:
    return Source(edge)


@pytest.fixture
def cache(edge: Edge) -> CacheManager:
    return CacheManager(edge.runtime, CONFIG)


# --------------------------------------------------------------------------- against an oracle


class Oracle:
    """When each layer lets go of a key. All that the real one may differ in is speed."""

    def __init__(self) -> None:
        self.l1: dict[str, tuple[str | None, int]] = {}
        self.kv: dict[str, tuple[str | None, int]] = {}

    def look(self, key: str, truth: str | None, now_us: int) -> tuple[str | None, Layer]:
        for layer, entries in ((Layer.L1, self.l1), (Layer.KV, self.kv)):
            if key in entries and now_us < entries[key][1]:
                value, ends_us = entries[key]
                if layer is Layer.KV:
                    self.l1[key] = (value, min(now_us + 10 * SECOND_US, ends_us))
                return value, layer
        ends_us = now_us + (60 if truth is None else 100) * SECOND_US
        self.kv[key] = (truth, ends_us)
        self.l1[key] = (truth, now_us + 10 * SECOND_US)
        return truth, Layer.MISS


steps = st.lists(
    st.tuples(
        st.integers(1, 70),  # seconds until the next look-up
        st.sampled_from("ab"),
        st.none() | st.sampled_from(['"x"', '{"n":1}', "[]"]),  # the truth from now on
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=60)
def test_c01_c08_c09_c23_look_ups_agree_with_the_oracle(plan: list[tuple[int, str, Any]]) -> None:
    """Values, layers and lives agree with two dicts of (value, end); no layer outlives its TTL."""
    edge = Edge()
    edge.kv.delay_us = 0
    cache, source, oracle = CacheManager(edge.runtime, CONFIG), Source(edge), Oracle()
    source.delay_us = 0

    async def work() -> None:
        for pause_s, key, truth in plan:
            await edge.sleep_s(pause_s)
            source.values[key] = truth
            expected, layer = oracle.look(key, truth, edge.runtime.now_us())
            text, lookup = await look(cache, source, key)
            assert (text, lookup) == (expected, Lookup(TYPE, layer, expected is None))

    edge.run(work())


# --------------------------------------------------------------------------- layers


def test_g08_c14_the_same_text_from_every_layer(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """Miss, L1 and KV answer the very same text; KV refills L1."""
    source.values["k"] = '{"n":1}'
    other = CacheManager(edge.runtime, CONFIG)

    async def work() -> list[tuple[str | None, Lookup]]:
        answers = [await look(cache, source), await look(cache, source)]
        await edge.sleep_s(1)
        return [*answers, await look(other, source), await look(other, source)]

    texts, lookups = zip(*edge.run(work()), strict=True)
    assert list(texts) == ['{"n":1}'] * 4
    assert [lookup.layer for lookup in lookups] == [Layer.MISS, Layer.L1, Layer.KV, Layer.L1]
    assert source.reads["k"] == 1


def test_c13_a_caller_cannot_edit_what_is_cached(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """Values are texts: what a caller does to the object it makes of one stays with the caller."""
    source.values["k"] = '[{"n":1}]'

    async def work() -> str | None:
        json.loads((await look(cache, source))[0] or "")[0]["n"] = 2
        return (await look(cache, source))[0]

    assert edge.run(work()) == '[{"n":1}]'


def test_c01_c23_l1_never_outlives_kv(edge: Edge, cache: CacheManager, source: Source) -> None:
    """An entry promoted from KV 3 s before its end lives 3 s in L1, not the 10 of L1."""
    source.values["k"] = '"v"'

    async def work() -> Lookup:
        await look(cache, source)
        await edge.sleep_s(97)
        assert (await look(cache, source))[1].layer is Layer.KV
        await edge.runtime.sleep_until(edge.kv.expires_us("k"))
        return (await look(cache, source))[1]

    assert edge.run(work()).layer is Layer.MISS
    assert source.reads["k"] == 2


def test_c08_c09_c30_not_there_is_cached_for_a_while(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """Found nothing: cached in both layers, told apart from a value, and gone after 60 s."""
    other = CacheManager(edge.runtime, CONFIG)

    async def work() -> list[Lookup]:
        lookups = [(await look(each, source))[1] for each in (cache, cache)]
        await edge.sleep_s(1)
        lookups.append((await look(other, source))[1])
        source.values["k"] = '"now"'
        await edge.sleep_s(60)
        text, lookup = await look(cache, source)
        assert text == '"now"'
        return [*lookups, lookup]

    assert edge.run(work()) == [
        Lookup(TYPE, Layer.MISS, True),
        Lookup(TYPE, Layer.L1, True),
        Lookup(TYPE, Layer.KV, True),
        Lookup(TYPE, Layer.MISS, False),
    ]
    assert edge.kv.puts[0].text == NOT_THERE
    assert [put.ttl_s for put in edge.kv.puts] == [60, 100]


def test_c27_the_write_to_kv_goes_on_behind_the_answer(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """A miss takes the KV read and the fetch; the KV write is not waited for."""
    source.values["k"] = '"v"'

    async def work() -> tuple[int, str | None]:
        await look(cache, source)
        return edge.runtime.now_us(), edge.kv.text("k")

    assert edge.run(work()) == (edge.kv.delay_us + source.delay_us, None)
    assert edge.kv.text("k") == '"v"'


def test_c19_what_another_wrote_is_served_but_not_kept(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """A KV text without our end in its metadata is the answer, and never gets into L1."""

    async def work() -> list[tuple[str | None, Lookup]]:
        await edge.kv.put("k", "no JSON")
        return [await look(cache, source), await look(cache, source)]

    assert edge.run(work()) == [("no JSON", Lookup(TYPE, Layer.KV))] * 2


# --------------------------------------------------------------------------- KV failures


def test_g04_kv_down_is_a_miss_not_an_error(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """With KV failing both ways the source answers, L1 keeps it, and each failure is counted."""
    source.values["k"] = '"v"'
    edge.kv.fail_reads = edge.kv.fail_writes = KVError("KV GET failed: 503", 503)

    async def work() -> list[tuple[str | None, Lookup]]:
        return [await look(cache, source), await look(cache, source)]

    assert edge.run(work()) == [
        ('"v"', Lookup(TYPE, Layer.MISS)),
        ('"v"', Lookup(TYPE, Layer.L1)),
    ]
    assert (cache.l2.read_errors, cache.l2.write_errors) == (1, 1)


# --------------------------------------------------------------------------- single flight


def test_c12_single_flight(edge: Edge, cache: CacheManager, source: Source) -> None:
    """50 look-ups at once: one KV read, one fetch, one write; all get it, 49 say they joined."""
    source.values["k"] = '"v"'

    async def work() -> list[tuple[str | None, Lookup]]:
        return await edge.runtime.gather(look(cache, source) for _ in range(50))

    answers = edge.run(work())
    assert {text for text, _ in answers} == {'"v"'}
    layers = Counter(lookup.layer for _, lookup in answers)
    assert layers == {Layer.MISS: 1, Layer.JOINED: 49}
    assert (edge.kv.reads, source.reads["k"], len(edge.kv.puts)) == (1, 1, 1)


def test_c12_joining_a_kv_read_is_a_hit_like_the_read(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """Those who waited for what KV had were answered by KV."""
    source.values["k"] = '"v"'

    async def work() -> list[Layer]:
        await look(CacheManager(edge.runtime, CONFIG), source)
        await edge.sleep_s(1)
        found = await edge.runtime.gather(look(cache, source) for _ in range(5))
        return [lookup.layer for _, lookup in found]

    assert edge.run(work()) == [Layer.KV] * 5


def test_c24_one_error_reaches_all_and_is_not_kept(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """One failing attempt fails all who wait, each of whom missed; the next look-up tries again."""
    source.error = D1Error("D1_ERROR: overloaded")
    contexts = [edge.context() for _ in range(20)]

    async def attempt(ctx: FakeContext) -> Exception:
        with pytest.raises(D1Error) as failed:
            await cache.get(ctx, TYPE, "k", source.fetch("k"))
        return failed.value

    async def work() -> list[Exception]:
        errors = await edge.runtime.gather(attempt(ctx) for ctx in contexts)
        source.error, source.values["k"] = None, '"v"'
        assert (await look(cache, source))[0] == '"v"'
        return errors

    errors = edge.run(work())
    assert all(error is errors[0] for error in errors)
    assert source.reads["k"] == 2
    layers = Counter(ctx.evidence.lookups[0].layer for ctx in contexts)
    assert layers == {Layer.MISS: 1, Layer.JOINED: 19}


def test_c12_the_others_go_on_when_the_fetching_request_is_cancelled(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """A client that hangs up takes nobody with it: one of those who waited fetches anew."""
    source.values["k"] = '"v"'

    async def work() -> list[tuple[str | None, Lookup]]:
        first = edge.runtime.spawn(look(cache, source))
        await edge.runtime.sleep(1)
        others = [edge.runtime.spawn(look(cache, source)) for _ in range(10)]
        await edge.runtime.sleep(source.delay_us // 2)
        first.cancel()
        with pytest.raises(Cancelled):
            await first
        return [await other for other in others]

    answers = edge.run(work())
    assert {text for text, _ in answers} == {'"v"'}
    assert Counter(lookup.layer for _, lookup in answers) == {Layer.MISS: 1, Layer.JOINED: 9}
    assert source.reads["k"] == 2


def test_c12_a_cancelled_waiter_disturbs_nobody(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """Those who only waited may leave; the fetch goes on for the rest."""
    source.values["k"] = '"v"'

    async def work() -> list[str | None]:
        jobs = [edge.runtime.spawn(look(cache, source)) for _ in range(5)]
        await edge.runtime.sleep(1)
        jobs[2].cancel()
        return [(await job)[0] for job in jobs[:2] + jobs[3:]]

    assert edge.run(work()) == ['"v"'] * 4
    assert source.reads["k"] == 1


@given(st.lists(st.tuples(st.integers(0, 30_000), st.sampled_from("abc")), max_size=40))
@settings(max_examples=40)
def test_c17_hits_and_misses_add_up_to_look_ups(asked: list[tuple[int, str]]) -> None:
    """Each look-up leaves one piece of evidence, and no key is fetched twice within its life."""
    edge = Edge()
    cache, source = CacheManager(edge.runtime, CONFIG), Source(edge)
    source.values = {"a": "1", "b": "2"}
    ctx = edge.context()

    async def one(at_us: int, key: str) -> None:
        await edge.runtime.sleep_until(at_us)
        await look(cache, source, key, ctx)

    async def work() -> None:
        await edge.runtime.gather(one(*each) for each in asked)

    edge.run(work())
    hits = sum(lookup.layer in HITS for lookup in ctx.evidence.lookups)
    misses = sum(lookup.layer in (Layer.MISS, Layer.JOINED) for lookup in ctx.evidence.lookups)
    assert hits + misses == len(asked)
    assert source.reads == Counter({key for _, key in asked})
