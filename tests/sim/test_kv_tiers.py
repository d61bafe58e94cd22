"""The tiers of Workers KV: who answers how fast, how age travels, refreshes, purges, listings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scenarios.schema import Scenario
from sim.kv_tiers import TIERS
from sim.steady_copies import copy_ages
from tests.sim.kvs import (
    EXACT,
    KV,
    READ_CENTRAL_US,
    READ_MEMORY_US,
    READ_NODE_US,
    READ_REGIONAL_US,
    WRITE_US,
)
from tests.sim.small import MS, SECOND


def test_each_tier_has_its_own_law() -> None:
    """The store, then memory while reads follow closely, then the copy; a neighbour the region."""
    kv = KV(memory_s=5.0)
    reads = [(0, "fra"), (1, "fra"), (7, "fra"), (8, "ams"), (9, "ams"), (10, "iad")]
    for at_s, node in reads:
        kv.read(at_s * SECOND, node)
    kv.run()
    central, memory = READ_CENTRAL_US, READ_MEMORY_US
    assert list(kv.took_us.values()) == [
        central, memory, READ_NODE_US, READ_REGIONAL_US, memory, central,
    ]  # fmt: skip
    total = {tier: sum(node.reads[tier] for node in kv.nodes.values()) for tier in TIERS}
    assert total == {"memory": 2, "node": 1, "regional": 1, "central": 2}


def test_a_copy_keeps_its_age_when_it_is_handed_on() -> None:
    """Taken from the region at 50 s it is served for the ten that are left, not for sixty."""
    kv = KV()
    kv.read(0, "fra")
    kv.write(SECOND, "iad", "new")
    kv.read(50 * SECOND, "ams")
    end_us = 60 * SECOND + READ_CENTRAL_US
    kv.read(end_us - 1, "ams")
    kv.read(end_us, "ams")
    assert kv.run() == {0: None, 50 * SECOND: None, end_us - 1: None, end_us: "new"}


def test_a_copy_that_is_read_near_its_end_is_refreshed_behind_the_answer() -> None:
    """Nobody waits: the old answer at once, and the new one at the next read."""
    kv = KV(refresh_ahead=0.1)
    kv.read(0, "fra")
    kv.write(SECOND, "iad", "new")
    for at_s in (53, 55, 61, 114):
        kv.read(at_s * SECOND, "fra")
    answers = kv.run()
    assert [answers[at_s * SECOND] for at_s in (53, 55, 61, 114)] == [None, None, "new", "new"]
    assert [kv.took_us[at_s * SECOND] for at_s in (55, 61, 114)] == [READ_NODE_US] * 3


def test_a_copy_that_nobody_reads_near_its_end_just_ends() -> None:
    """The next reader waits for the central store."""
    kv = KV(refresh_ahead=0.1)
    for at_s in (0, 53, 61):
        kv.read(at_s * SECOND, "fra")
    kv.run()
    assert kv.took_us[61 * SECOND] == READ_CENTRAL_US


@pytest.mark.parametrize(("late_us", "seen"), [(-1, None), (0, "new")])
def test_a_purge_ends_older_copies_everywhere(late_us: int, seen: str | None) -> None:
    """purge_s after the write is visible, long before the reader's cacheTtl is over."""
    kv = KV(purge_s=5.0)
    kv.read(0, "iad", cache_ttl=3600)
    kv.write(SECOND, "fra", "new")
    at_us = SECOND + WRITE_US + 5 * SECOND + late_us
    kv.read(at_us, "iad", cache_ttl=3600)
    assert kv.run()[at_us] == seen


def test_a_purge_leaves_what_is_newer() -> None:
    """A copy fetched behind the write is not asked for again."""
    kv = KV(purge_s=5.0)
    kv.write(0, "fra", "new")
    kv.read(SECOND, "iad")
    kv.read(20 * SECOND, "iad")
    kv.run()
    assert kv.took_us[20 * SECOND] == READ_NODE_US


@pytest.mark.parametrize(("probability", "seen", "violations"), [(0.0, "new", 0), (1.0, None, 1)])
def test_a_node_may_miss_its_own_write(
    probability: float, seen: str | None, violations: int
) -> None:
    """The documented exception: its copy stays as it was, and the read is counted."""
    kv = KV(own_write_unseen=probability)
    kv.read(0, "fra")
    kv.write(SECOND, "fra", "new")
    kv.read(2 * SECOND, "fra")
    kv.read(62 * SECOND, "fra")
    assert kv.run() == {0: None, 2 * SECOND: seen, 62 * SECOND: "new"}
    assert kv.nodes["fra"].unseen_writes_read == violations


def test_own_writes_are_missed_as_often_as_the_scenario_says() -> None:
    """One in five of 2,000 writes, and not the same ones under another seed."""
    kv = KV(own_write_unseen=0.2)
    chance = kv.draws.kv_own_write_unseen
    happened = [chance.happens(number) for number in range(2_000)]
    assert np.mean(happened) == pytest.approx(0.2, abs=0.03)
    assert happened == [chance.happens(number) for number in range(2_000)]
    assert happened != [chance.happens(number, 1) for number in range(2_000)]


def test_listings_are_late_too() -> None:
    """A node repeats what it was told for a minute; another one asks the store."""
    kv = KV()
    kv.write(0, "fra", "v", key="a")
    kv.write(2 * SECOND, "fra", "v", key="b")
    seen: list[tuple[int, list[str]]] = []

    async def look(node: str) -> None:
        page = await kv.binding(node).list(prefix="")
        seen.append((kv.runtime.now_us(), [key.name for key in page.keys]))

    for at_s, node in ((1, "fra"), (30, "fra"), (31, "iad"), (70, "fra")):
        kv.runtime.spawn(look(node), at_us=at_s * SECOND)
    kv.run()
    assert [names for _, names in seen] == [["a"], ["a"], ["a", "b"], ["a", "b"]]


# --------------------------------------------------------------------------- the mixture

PUBLISHED = {"memory": 0.45, "node": 0.355, "regional": 0.15, "central": 0.045}
"""Nearly half of the reads are answered in memory (Cloudflare blog, 2024-09-26); the rest is the
split under which the tiers' laws were chosen."""


def test_the_tiers_reproduce_the_published_aggregate() -> None:
    """P95 of all reads is 50 ms and P99 250 ms (KV changelog, 2025-08-22), within 10 %.

    20,000 reads with the default laws, each of a key of its own that lies where its share says.
    """
    laws = Scenario(name="defaults").kv
    settings: dict[str, Any] = {
        name: getattr(laws, name).model_dump() for name in EXACT if name.endswith("_ms")
    }
    kv = KV(**settings, memory_s=30.0)
    count, first_us = 20_000, 100 * SECOND
    tiers = np.random.default_rng(7).choice(list(PUBLISHED), count, p=list(PUBLISHED.values()))
    for number, tier in enumerate(tiers.tolist()):
        key, at_us = f"k{number}", first_us + number * MS // 20
        if tier in ("memory", "node"):
            kv.read(at_us - (10 if tier == "memory" else 40) * SECOND, "fra", key)
        elif tier == "regional":
            kv.read(at_us - 20 * SECOND, "ams", key)
    kv.run()
    for number in range(count):
        kv.read(first_us + number * MS // 20, "fra", f"k{number}")
    kv.run()
    found = kv.nodes["fra"].reads
    prepared = found["central"] - count * PUBLISHED["central"]
    assert prepared > 0.75 * count
    latencies_ms = [us / 1000 for at_us, us in kv.took_us.items() if at_us >= first_us]
    assert len(latencies_ms) == count
    assert np.percentile(latencies_ms, 95) == pytest.approx(50, rel=0.1)
    assert np.percentile(latencies_ms, 99) == pytest.approx(250, rel=0.1)


# --------------------------------------------------------------------------- after a long run


def played_copies(rates: list[float], life_s: float, ahead_s: float, seed: int) -> list[float]:
    """Ages of the region's and each node's copy after some 30 lives, read by read."""
    draws = np.random.default_rng(seed)
    horizon_s = (30 + 10 * draws.random()) * life_s
    reads = sorted(
        (float(at), node)
        for node, rate in enumerate(rates)
        for at in draws.uniform(0, horizon_s, draws.poisson(rate * horizon_s))
    )
    region, nodes = -np.inf, [-np.inf] * len(rates)
    for at_s, node in reads:
        if at_s - nodes[node] < life_s - ahead_s:
            continue
        if at_s - region >= life_s - ahead_s:
            region = at_s
        nodes[node] = region
    return [horizon_s - born for born in (region, *nodes)]


@pytest.mark.parametrize("rates", [[0.01], [0.3], [0.02, 0.1], [5.0, 0.05, 0.01]])
def test_copies_are_as_old_as_after_a_long_run(rates: list[float]) -> None:
    """Share present and mean age, of the region and each node, within 5 standard errors of 1,500
    runs played read by read."""
    life_s, ahead_s, count = 60.0, 6.0, 1_500
    played = np.array([played_copies(rates, life_s, ahead_s, seed) for seed in range(count)])
    many = [np.full(20_000, rate) for rate in rates]
    drawn = copy_ages(many, life_s, ahead_s, np.random.default_rng(1))
    for ages, expected in zip([drawn.region, *drawn.nodes], played.T, strict=True):
        there = expected < life_s
        share = float(np.mean(there))
        error = np.sqrt(share * (1 - share) / count)
        assert float(np.mean(np.isfinite(ages))) == pytest.approx(share, abs=5 * error + 0.01)
        age_error = float(np.std(expected[there])) / np.sqrt(there.sum())
        mean_s = float(np.mean(ages[np.isfinite(ages)]))
        assert mean_s == pytest.approx(float(np.mean(expected[there])), abs=5 * age_error)
