"""The caches at time 0, as a long run would have left them.

A KV entry lives T seconds from its last write; it is written by the first look-up that misses it
(rate lambda) and by every touch (rate mu). By renewal, with B = (exp(mu T) - 1) / mu the mean time
it stays once written (B = T without touches), it is present with probability
B (lambda + mu) / (1 + B (lambda + mu)), and the time since its last write has a density
proportional to exp(-mu a) on [0, T]: uniform without touches. An L1 entry is the same with its own
life and the rate of its isolate; the copies of KV's tiers are :mod:`sim.steady_copies`.

An entry past T waits for whatever comes first, a look-up or a touch: for a time of the law
Exp(lambda + mu). With a stale window S behind T it is still there while that time is under S.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_impl.isolate.worker import ATTRIBUTION
from reference_impl.keys import cache_key
from scenarios.plan import cumulative
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from scenarios.streams import fractions, stream
from sim.edge import EdgeNode
from sim.kv_store import GONE, Version
from sim.kv_tiers import Copies, Copy
from sim.prepare import Prepared
from sim.steady_copies import SELDOM, copy_ages
from sim.world import World

US = 1_000_000
LONG = 500.0
"""Writes in one life from which an entry is as good as always there: e^500 is still a float."""

Floats = NDArray[np.float64]


class Ages(NamedTuple):
    """Which entries are present, and for how many seconds they have been."""

    present: NDArray[np.bool_]
    age_s: Floats


def renewal(
    rates: Floats, life_s: float | Floats, writes: float, draws: np.random.Generator
) -> Ages:
    """Presence and age of entries that live ``life_s``, fetched at ``rates`` and written anew at
    the rate ``writes`` each (both a second)."""
    written = np.minimum(writes * life_s, LONG)
    stay_s = np.expm1(written) / writes if writes > 0 else life_s
    births = stay_s * (rates + writes)
    present = draws.random(len(rates)) < births / (1 + births)
    share = draws.random(len(rates))
    if writes > 0:
        return Ages(present, -np.log1p(share * np.expm1(-writes * life_s)) / writes)
    return Ages(present, share * life_s)


def with_stale(
    ages: Ages, rates: Floats, life_s: float | Floats, stale_s: float, draws: np.random.Generator
) -> Ages:
    """The same entries where those past their life stay for ``stale_s``; ``rates`` are the
    look-ups and touches a second of each."""
    waited_s = draws.standard_exponential(len(rates)) / np.maximum(rates, SELDOM)
    present = ages.present | (waited_s < stale_s)
    return Ages(present, np.where(ages.present, ages.age_s, life_s + waited_s))


def fill_caches(
    world: World,
    scenario: Scenario,
    rates: Floats,
    seed: int,
    prepared: Prepared,
    zero_us: int,
    wall_us: int,
) -> None:
    """Put into KV, node copies and L1 what they would hold at ``zero_us`` on the runtime's clock.

    ``rates`` are the look-ups a second of each conversion over all nodes (``Plan.rates_per_s``),
    ``wall_us`` is the time of day at that instant.
    """
    touches = scenario.workload.tracking.rate_per_s * scenario.workload.tracking.attributed_share
    keys, writes = _keys(scenario, prepared), touches / len(rates)
    lives_s = _lives_s(scenario, keys)
    kv = renewal(rates, lives_s, writes, stream(seed, "steady.kv", 0))
    if stale_s := scenario.kv.stale_ttl_s:
        kv = with_stale(kv, rates + writes, lives_s, stale_s, stream(seed, "steady.stale", 0))
    shares = cumulative([node.share for node in scenario.edge.nodes])
    writer = np.searchsorted(
        shares, fractions(stream(seed, "steady.writer", 0), len(rates)), "right"
    )
    filler = _Filler(
        scenario, keys, prepared.answers, lives_s, kv, writer, touches, zero_us, wall_us
    )
    filler.fill_store(world)
    reads = [
        filler.fill_l1(node, rates * scenario.edge.nodes[index].share, seed, index)
        for index, node in enumerate(world.nodes)
    ]
    for number, (region, copies) in enumerate(sorted(world.kv_regions.items())):
        inside = [i for i, node in enumerate(scenario.edge.nodes) if node.region == region]
        life_s, ahead = float(scenario.kv.cache_ttl_s), scenario.kv.refresh_ahead
        draws = stream(seed, "steady.copies", number)
        ages = copy_ages([reads[i] for i in inside], life_s, life_s * ahead, draws)
        filler.keep_copies(copies, ages.region, None)
        for i, age_s in zip(inside, ages.nodes, strict=True):
            filler.keep_copies(world.nodes[i].kv, age_s, i)


def _keys(scenario: Scenario, prepared: Prepared) -> list[str]:
    model = scenario.workload.attribution.model
    conversions = prepared.population.conversions
    return [cache_key(ATTRIBUTION, c.conversion_id, model) for c in conversions]


def _lives_s(scenario: Scenario, keys: list[str]) -> Floats:
    if not scenario.kv.ttl_jitter:
        return np.full(len(keys), float(scenario.kv.expiration_ttl_s[ATTRIBUTION]))
    config = stack_config(scenario)
    return np.array([config.life_s(ATTRIBUTION, key, negative=False) for key in keys], float)


class _Filler:
    def __init__(
        self,
        scenario: Scenario,
        keys: list[str],
        answers: Sequence[str],
        lives_s: Floats,
        kv: Ages,
        writer: NDArray[np.int64],
        touches: float,
        zero_us: int,
        wall_us: int,
    ) -> None:
        self._keys = keys
        self._answers = answers
        self._kv = kv
        self._writer = writer
        self._zero_us = zero_us
        self._copy_s = scenario.kv.cache_ttl_s
        self._memory_s = scenario.kv.memory_s
        self._was_there = scenario.kv.stale_ttl_s > 0 or touches > 0
        self._l1_s = scenario.l1.ttl_s if scenario.l1.scope == "isolate" else 0
        self._rest_us = np.rint((lives_s - kv.age_s) * US).astype(np.int64)
        stale_us = zero_us + scenario.kv.stale_ttl_s * US
        self._versions = {
            i: Version(answers[i], {"e": wall_us + rest}, stale_us + rest)
            for i, rest in zip(*self._chosen(kv.present, self._rest_us), strict=True)
        }

    def fill_store(self, world: World) -> None:
        for i, version in self._versions.items():
            world.kv.write(self._keys[i], version, visible_us=self._zero_us)

    def fill_l1(self, node: EdgeNode, rates: Floats, seed: int, index: int) -> Floats:
        """L1 of the node's isolates, over which its requests spread evenly, and which keys were
        read from KV lately; the reads a second of each key that pass L1."""
        isolates = node.pool.isolates
        each = rates / len(isolates)
        last_s = np.full(len(each), np.inf)
        for number, isolate in enumerate(isolates):
            draws = stream(seed, f"steady.l1.{index}", number)
            held = renewal(each, self._l1_s, 0.0, draws)
            left_s = self._l1_s - np.minimum(held.age_s, self._kv.age_s)
            left_us = np.minimum(np.rint(left_s * US).astype(np.int64), self._rest_us)
            chosen = held.present & self._kv.present & (left_us > 0)
            for i, left in zip(*self._chosen(chosen, left_us), strict=True):
                isolate.worker.cache.l1.set(self._keys[i], self._answers[i], self._zero_us + left)
            since_s = self._l1_s + draws.standard_exponential(len(each)) / np.maximum(each, SELDOM)
            last_s = np.minimum(last_s, np.where(held.present, held.age_s, since_s))
        recent = last_s < self._memory_s
        last_us = np.rint(np.where(recent, last_s, 0.0) * US).astype(np.int64)
        for i, ago in zip(*self._chosen(recent, last_us), strict=True):
            node.kv.note_read(self._keys[i], self._zero_us - ago)
        return rates / (1 + each * self._l1_s)

    def keep_copies(self, copies: Copies, age_s: Floats, index: int | None) -> None:
        """The copies of one tier, of node ``index`` or of a region.

        The node that wrote an entry has a copy as old as that. Elsewhere a copy that is older
        than the entry tells what was there before: without touches, nothing.
        """
        if index is not None:
            age_s = np.where(self._writer == index, np.minimum(age_s, self._kv.age_s), age_s)
        present = (age_s < self._copy_s) & self._kv.present
        age_us = np.rint(np.where(present, age_s, 0.0) * US).astype(np.int64)
        before = (age_s > self._kv.age_s) & (not self._was_there)
        for i, age in zip(*self._chosen(present & ~before, age_us), strict=True):
            copies.keep(self._keys[i], Copy(self._versions[i], self._zero_us - age))
        for i, age in zip(*self._chosen(present & before, age_us), strict=True):
            copies.keep(self._keys[i], Copy(GONE, self._zero_us - age))

    @staticmethod
    def _chosen(mask: NDArray[np.bool_], values: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        """The indexes where ``mask`` holds, and ``values`` there."""
        return np.flatnonzero(mask).tolist(), values[mask].tolist()
