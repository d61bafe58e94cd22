"""What comes too late is kept nowhere: loads against writes, in one isolate and between many."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.cache.manager import PROMPT_US, SETTLE_S, CacheManager
from reference_impl.config import StackConfig
from reference_impl.messages import Layer
from reference_impl.ports import KVEntry, KVError
from tests.reference_impl.fakes import SECOND_US, Edge, FakeContext, NodeKV
from tests.reference_impl.looking import TYPE, Source, look

CONFIG = StackConfig(l1_ttl_s=10, kv_cache_ttl_s=60)


@pytest.fixture
def cache(edge: Edge) -> CacheManager:
    return CacheManager(edge.runtime, CONFIG)


@pytest.fixture
def source(edge: Edge) -> Source:
    return Source(edge)


class LateKV(NodeKV):
    """Reads at once, and says so a second later."""

    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        found = await super().read(key, cache_ttl)
        await self._runtime.sleep(SECOND_US)
        return found


@pytest.mark.parametrize("change", ["set", "delete", "prefix"])
@pytest.mark.parametrize("fetch_s", [0.5, 1.0, 3.0])
def test_c31_a_fetch_from_before_a_write_is_not_kept(
    edge: Edge, cache: CacheManager, source: Source, change: str, fetch_s: float
) -> None:
    """It answers who asked. Whoever asks after the write gets what was written, at once and when
    L1 has forgotten it; KV has it too, or nothing."""
    source.values["k"], source.delay_us = '"old"', round(fetch_s * SECOND_US)

    async def work() -> list[str | None]:
        early = edge.runtime.spawn(look(cache, source))
        await edge.sleep_s(0.1)
        source.values["k"], source.delay_us = '"new"', 20_000
        await apply(cache, change, edge.context(), '"new"')
        at_once = await look(cache, source)
        await early
        after = await look(cache, source)
        await edge.sleep_s(CONFIG.l1_ttl_s)
        return [text for text, _ in (await early, at_once, after, await look(cache, source))]

    assert edge.run(work()) == ['"old"', '"new"', '"new"', '"new"']
    assert edge.kv.text("k") in ('"new"', None)


async def apply(cache: CacheManager, change: str, ctx: FakeContext, text: str) -> None:
    if change == "set":
        await cache.set(ctx, TYPE, "k", text)
    elif change == "delete":
        await cache.delete(ctx, "k")
    else:
        await cache.invalidate_by_prefix(ctx, "k")


def test_c02_a_kv_read_meanwhile_does_not_bring_the_old_value_back(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """A look-up that reads KV while the deletion is on its way leaves nothing in L1."""
    source.values["k"] = '"old"'

    async def work() -> list[str | None]:
        await look(CacheManager(edge.runtime, CONFIG), source)
        await edge.sleep_s(2)
        deletion = edge.runtime.spawn(cache.delete(edge.context(), "k"))
        await edge.runtime.sleep(1)
        during = await look(cache, source)
        await deletion
        source.values["k"] = '"new"'
        return [during[0], (await look(cache, source))[0]]

    assert edge.run(work()) == ['"old"', '"new"']


def test_c03_an_invalidation_waits_for_its_turn(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """A deletion right behind a write of the key is no failure: it comes a second after it."""
    source.values["k"] = '"old"'

    async def work() -> int:
        await look(cache, source)
        done = await cache.delete(edge.context(), "k")
        assert (done["kv_deleted"], done["kv_failed"]) == (1, 0)
        return edge.runtime.now_us()

    fetched_us = edge.kv.delay_us + source.delay_us
    assert edge.run(work()) == fetched_us + SECOND_US + edge.kv.delay_us
    assert (edge.kv.text("k"), edge.kv.refused) == (None, 0)


def test_c03_an_invalidation_waits_out_another_isolate(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """KV's 429 for a write of somebody else: the deletion comes again a second later."""

    async def work() -> int:
        await look(CacheManager(edge.runtime, CONFIG), source)
        return (await cache.delete(edge.context(), "k"))["kv_deleted"]

    assert edge.run(work()) == 1
    assert (edge.kv.text("k"), edge.kv.refused) == (None, 1)


def test_writes_of_a_key_follow_one_another(edge: Edge, cache: CacheManager) -> None:
    """A write that takes three seconds is waited for, so the later one stands."""

    async def work() -> None:
        first = edge.runtime.spawn(cache.set(edge.context(), TYPE, "k", '"first"'))
        await edge.runtime.sleep(1)
        edge.kv.delay_us = 1_000
        await cache.set(edge.context(), TYPE, "k", '"second"')
        await first

    edge.kv.delay_us = 3 * SECOND_US
    edge.run(work())
    assert edge.kv.text("k") == cache.l1.get("k") == '"second"'


@pytest.mark.parametrize(
    ("took_us", "lives"), [(PROMPT_US, [3600]), (PROMPT_US + 1, [60]), (10 * SECOND_US, [])]
)
def test_c31_a_late_fetch_has_a_short_life(
    edge: Edge, cache: CacheManager, source: Source, took_us: int, lives: list[int]
) -> None:
    """What took over a second may be older than another isolate's write: KV keeps it for 60 s;
    what took as long as L1's life is not kept at all."""
    source.values["k"], source.delay_us = '"v"', took_us
    assert edge.run(look(cache, source))[0] == '"v"'
    assert [put.ttl_s for put in edge.kv.puts] == lives


def test_c01_a_life_in_l1_counts_from_the_fetch(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """What a fetch of 0.9 s brought leaves L1 ten seconds after the fetch began."""
    source.values["k"], source.delay_us = '"v"', 900_000

    async def work() -> list[Layer]:
        await look(cache, source)
        began_us = edge.kv.delay_us
        await edge.runtime.sleep_until(began_us + 10 * SECOND_US - 1)
        last = await look(cache, source)
        await edge.runtime.sleep(1)
        return [last[1].layer, (await look(cache, source))[1].layer]

    assert edge.run(work()) == [Layer.L1, Layer.KV]


def test_c01_a_life_in_l1_counts_from_the_begin_of_a_kv_read(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """What a KV read of three seconds brought leaves L1 ten seconds after the read began: it may
    be as old as that."""
    source.values["k"] = '"v"'

    async def work() -> list[Layer]:
        await look(CacheManager(edge.runtime, CONFIG), source)
        await edge.sleep_s(1)
        edge.kv.delay_us, began_us = 3 * SECOND_US, edge.runtime.now_us()
        layers = [(await look(cache, source))[1].layer]
        edge.kv.delay_us = 1_000
        for at_us in (10 * SECOND_US - 1, 10 * SECOND_US):
            await edge.runtime.sleep_until(began_us + at_us)
            layers.append((await look(cache, source))[1].layer)
        return layers

    assert edge.run(work()) == [Layer.KV, Layer.L1, Layer.KV]


def test_c31_a_kv_read_from_before_a_write_is_not_kept(
    edge: Edge, cache: CacheManager, source: Source
) -> None:
    """A slow read of the old value that ends behind the write does not get over the new one."""
    source.values["k"] = '"old"'

    async def work() -> list[str | None]:
        await look(CacheManager(edge.runtime, CONFIG), source)
        await edge.sleep_s(2)
        ctx = edge.context()
        ctx.kv = LateKV(edge)
        reading = edge.runtime.spawn(look(cache, source, ctx=ctx))
        await edge.runtime.sleep(1)
        await cache.set(edge.context(), TYPE, "k", '"new"')
        return [(await reading)[0], (await look(cache, source))[0], cache.l1.get("k")]

    assert edge.run(work()) == ['"old"', '"new"', '"new"']


def test_c12_a_load_is_not_joined_for_ever(edge: Edge, cache: CacheManager, source: Source) -> None:
    """After L1's life a load that hangs is joined no more: the next look-up fetches for itself."""
    source.values["k"], source.delay_us = '"old"', 100 * SECOND_US

    async def work() -> tuple[str | None, Layer]:
        hanging = edge.runtime.spawn(look(cache, source))
        await edge.sleep_s(CONFIG.l1_ttl_s)
        source.values["k"], source.delay_us = '"new"', 1
        text, lookup = await look(cache, source)
        await hanging
        assert (await look(cache, source))[1].layer is Layer.KV
        return text, lookup.layer

    assert edge.run(work()) == ('"new"', Layer.MISS)


def test_c04_a_prefix_is_listed_twice(edge: Edge, cache: CacheManager, source: Source) -> None:
    """A key that another isolate writes for the first time just after the listing is found by the
    second one; what the first one deleted and was looked up again stays."""
    source.values = {"a:1": '"old"', "a:2": '"old"'}
    other = CacheManager(edge.runtime, CONFIG)

    async def work() -> int:
        await look(other, source, "a:1")
        await edge.sleep_s(2)
        source.delay_us = SECOND_US
        unseen = edge.runtime.spawn(look(other, source, "a:2"))
        await edge.runtime.sleep(1)
        source.values["a:1"], source.delay_us = '"new"', 20_000
        done = await cache.invalidate_by_prefix(edge.context(), "a:")
        await edge.sleep_s(1.1)
        await look(cache, source, "a:1")
        await unseen
        return done["elsewhere_within_s"]

    assert edge.run(work()) == cache.elsewhere_within_s + SETTLE_S == 73
    assert (edge.kv.text("a:1"), edge.kv.text("a:2")) == ('"new"', None)


def test_c04_a_second_listing_that_fails_is_counted(edge: Edge, cache: CacheManager) -> None:
    """The answer has been given: the failure shows in the statistics."""

    async def work() -> None:
        await cache.invalidate_by_prefix(edge.context(), "a:")
        edge.kv.fail_reads = KVError("KV GET failed: 500", 500)

    edge.run(work())
    assert cache.get_stats()["l2"]["list_errors"] == 1


# --------------------------------------------------------------------------- the bound

BOUND = StackConfig(l1_ttl_s=5, kv_cache_ttl_s=30)
BOUND_US = (5 + 60) * SECOND_US


class Step(NamedTuple):
    """After a pause, isolate ``number`` looks up or changes a key; a fetch would take so long."""

    pause_s: float
    number: int
    key: str
    action: str
    fetch_s: float


class Change(NamedTuple):
    key: str
    version: int
    done_us: int


class Answer(NamedTuple):
    key: str
    version: int
    asked_us: int


class Deployment:
    """Isolates at nodes of their own, over one KV store and one source that counts versions."""

    def __init__(self, edge: Edge, isolates: int) -> None:
        self.edge = edge
        self.caches = [CacheManager(edge.runtime, BOUND) for _ in range(isolates)]
        self.nodes = [NodeKV(edge) for _ in range(isolates)]
        self.truth = dict.fromkeys("ab", 0)
        self.turns = {key: edge.runtime.limiter(1) for key in "ab"}
        self.changes: list[Change] = []
        self.answers: list[Answer] = []

    async def do(self, step: Step) -> None:
        ctx = self.edge.context()
        ctx.kv = self.nodes[step.number]
        if step.action == "look":
            await self.look(ctx, step)
        else:
            async with self.turns[step.key]:
                await self.change(ctx, step)

    async def look(self, ctx: FakeContext, step: Step) -> None:
        async def fetch() -> str:
            version = self.truth[step.key]  # as early as a read can be
            await self.edge.sleep_s(step.fetch_s)
            return str(version)

        asked_us = self.edge.runtime.now_us()
        text = await self.caches[step.number].get(ctx, TYPE, step.key, fetch)
        self.answers.append(Answer(step.key, int(text or 0), asked_us))

    async def change(self, ctx: FakeContext, step: Step) -> None:
        self.truth[step.key] += 1
        version, cache = self.truth[step.key], self.caches[step.number]
        if step.action == "set":
            try:
                await cache.set(ctx, TYPE, step.key, str(version))
            except KVError:
                return
        elif (await cache.delete(ctx, step.key))["kv_failed"]:
            return
        self.changes.append(Change(step.key, version, self.edge.runtime.now_us()))

    async def everybody_looks(self) -> None:
        """At the very end of the bound of the last change."""
        last_us = max((change.done_us for change in self.changes), default=0)
        await self.edge.runtime.sleep_until(last_us + BOUND_US)
        looks = [
            Step(0, number, key, "look", 0.01)
            for number in range(len(self.caches))
            for key in self.truth
        ]
        await self.edge.runtime.gather(map(self.do, looks))

    def too_old(self) -> list[tuple[Answer, Change]]:
        return [
            (answer, change)
            for answer in self.answers
            for change in self.changes
            if answer.key == change.key
            and answer.asked_us >= change.done_us + BOUND_US
            and answer.version < change.version
        ]


bursts = st.lists(
    st.builds(
        Step,
        st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.2, 2.0, 4.9, 29.0]),
        st.integers(0, 2),
        st.sampled_from("aaab"),
        st.sampled_from(["look", "look", "set", "delete"]),
        st.sampled_from([0.01, 0.9, 1.3, 2.5, 4.5, 40.0]),
    ),
    max_size=15,
)


@given(bursts, bursts)
@settings(max_examples=150)
def test_c03_c31_every_isolate_follows_within_the_bound(
    first: list[Step], second: list[Step]
) -> None:
    """Whatever overlaps with whatever: a look-up begun a bound after a change never answers with
    what was there before it, however long fetches take and at whatever node."""
    edge = Edge()
    deployment = Deployment(edge, 3)
    edge.kv.delay_us = 200_000

    async def work() -> None:
        for burst in (first, second):
            jobs = []
            for step in burst:
                await edge.sleep_s(step.pause_s)
                jobs.append(edge.runtime.spawn(deployment.do(step)))
            for job in jobs:
                await job
            await deployment.everybody_looks()

    edge.run(work())
    assert deployment.too_old() == []
    assert {cache.elsewhere_within_s for cache in deployment.caches} == {65}
