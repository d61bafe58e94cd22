"""Many isolates over one KV against dicts, through writes, expiry, invalidation and failures."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.messages import HITS, Layer, Lookup
from reference_impl.ports import KVError
from tests.reference_impl.fakes import SECOND_US, Edge
from tests.reference_impl.looking import TYPE, Source, look

CONFIG = StackConfig(
    l1_ttl_s=10, kv_expiration_ttl_s={TYPE: 100, "default": 70}, kv_negative_ttl_s=60
)
DOWN = KVError("KV failed: 500", 500)


class Step(NamedTuple):
    """After a pause: what isolate ``number`` does with a key, and what is true from then on."""

    pause_s: int
    number: int
    action: str
    key: str
    truth: str | None


class Oracle:
    """What each layer should hold: key to (value, end), with no thought of speed."""

    def __init__(self, isolates: int) -> None:
        self.l1: list[dict[str, tuple[str | None, int]]] = [{} for _ in range(isolates)]
        self.kv: dict[str, tuple[str | None, int]] = {}
        self.reads_up = self.writes_up = True

    def look(self, step: Step, now_us: int) -> tuple[str | None, Layer]:
        l1, key = self.l1[step.number], step.key
        if key in l1 and now_us < l1[key][1]:
            return l1[key][0], Layer.L1
        if self.reads_up and key in self.kv and now_us < self.kv[key][1]:
            value, ends_us = self.kv[key]
            l1[key] = (value, min(now_us + 10 * SECOND_US, ends_us))
            return value, Layer.KV
        self.put(step, now_us)
        l1[key] = (step.truth, now_us + 10 * SECOND_US)
        return step.truth, Layer.MISS

    def put(self, step: Step, now_us: int) -> None:
        if self.writes_up:
            life_s = 60 if step.truth is None else 100
            self.kv[step.key] = (step.truth, now_us + life_s * SECOND_US)

    def set(self, step: Step, now_us: int) -> bool:
        self.put(step, now_us)
        if self.writes_up:
            self.l1[step.number][step.key] = (step.truth, now_us + 10 * SECOND_US)
        return self.writes_up

    def delete(self, step: Step) -> None:
        self.l1[step.number].pop(step.key, None)
        if self.writes_up:
            self.kv.pop(step.key, None)

    def delete_prefix(self, step: Step) -> bool:
        for entries in (self.l1[step.number], self.kv if self.reads_up and self.writes_up else {}):
            for key in [key for key in entries if key.startswith(step.key[0])]:
                del entries[key]
        return self.reads_up


class Deployment:
    """The real thing and the oracle beside it, step by step."""

    def __init__(self, isolates: int) -> None:
        self.edge = Edge()
        self.edge.kv.delay_us = 0
        self.source = Source(self.edge)
        self.source.delay_us = 0
        self.caches = [CacheManager(self.edge.runtime, CONFIG) for _ in range(isolates)]
        self.oracle = Oracle(isolates)
        self.lookups: list[Lookup] = []

    async def play(self, story: list[Step]) -> None:
        for step in story:
            await self.edge.sleep_s(step.pause_s)
            self.source.values[step.key] = step.truth
            await self.do(step, self.caches[step.number], self.edge.runtime.now_us())

    async def do(self, step: Step, cache: CacheManager, now_us: int) -> None:
        oracle, kv, ctx = self.oracle, self.edge.kv, self.edge.context()
        if step.action == "look":
            expected, layer = oracle.look(step, now_us)
            text, lookup = await look(cache, self.source, step.key)
            assert (text, lookup) == (expected, Lookup(TYPE, layer, expected is None))
            self.lookups.append(lookup)
        elif step.action == "set":
            work: Any = cache.set(ctx, TYPE, step.key, step.truth)
            assert await succeeds(work) == oracle.set(step, now_us)
        elif step.action == "delete":
            done = await cache.delete(ctx, step.key)
            assert done["kv_failed"] == (not oracle.writes_up)
            oracle.delete(step)
        elif step.action == "prefix":
            work = cache.invalidate_by_prefix(ctx, step.key[0])
            assert await succeeds(work) == oracle.delete_prefix(step)
        else:
            oracle.reads_up, oracle.writes_up = step.action != "no reads", step.action == "all up"
            kv.fail_reads = None if oracle.reads_up else DOWN
            kv.fail_writes = None if oracle.writes_up else DOWN


async def succeeds(work: Any) -> bool:
    try:
        await work
    except KVError:
        return False
    return True


ACTIONS = ["look"] * 8 + ["set", "delete", "prefix", "no reads", "no writes", "all up"]
stories = st.lists(
    st.builds(
        Step,
        st.sampled_from([4, 5, 9, 10, 11, 40, 59, 99]),  # past the second listing of a prefix
        st.integers(0, 2),
        st.sampled_from(ACTIONS),
        st.sampled_from(["a1", "a2", "b1"]),
        st.none() | st.sampled_from(['"x"', '{"n":1}', "[]"]),
    ),
    max_size=40,
)


@given(stories)
@settings(max_examples=150)
def test_c01_c02_c09_c17_c26_isolates_agree_with_the_oracle(story: list[Step]) -> None:
    """Values, layers, lives and failures agree with the dicts, step by step; hits and misses are
    all look-ups, in the evidence as in the statistics."""
    deployment = Deployment(3)
    deployment.edge.run(deployment.play(story))
    stats = [cache.get_stats() for cache in deployment.caches]
    layers = Counter(lookup.layer for lookup in deployment.lookups)
    assert sum(row["combined"]["lookups"] for row in stats) == len(deployment.lookups)
    assert sum(row["combined"]["hits"] for row in stats) == sum(layers[each] for each in HITS)
    assert sum(row["l1"]["hits"] for row in stats) == layers[Layer.L1]
    assert sum(row["l2"]["hits"] for row in stats) == layers[Layer.KV]
    for row in stats:
        assert row["combined"]["hits"] + row["combined"]["misses"] == row["combined"]["lookups"]
        kv_reads = row["l2"]["hits"] + row["l2"]["misses"] + row["l2"]["read_errors"]
        assert row["l1"]["misses"] == kv_reads
