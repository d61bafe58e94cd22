"""The steady start: renewal formulas against a played renewal process, and against a long run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reference_impl.keys import cache_key
from reports.intervals import Estimate, Share, ratio
from reports.record import RunRecord, Unit
from scenarios.stack import stack_config
from scenarios.streams import stream
from sim.simulate import simulate
from sim.steady import renewal, with_stale
from tests.sim.small import SECOND, scenario
from tests.sim.worlds import Deployed


def played(
    reads: float, writes: float, life_s: float, seed: int, horizon_s: float
) -> tuple[bool, float]:
    """Whether an entry is there at the horizon, and for how long: event by event from nothing."""
    draws = np.random.Generator(np.random.Philox(seed))
    now_s, written_s = 0.0, -np.inf
    while (now_s := now_s + draws.exponential(1 / (reads + writes))) < horizon_s:
        is_write = draws.random() < writes / (reads + writes)
        if is_write or now_s - written_s >= life_s:
            written_s = now_s
    age_s = horizon_s - written_s
    return age_s < life_s, age_s


@pytest.mark.parametrize(
    ("reads", "writes"), [(0.02, 0.0), (0.3, 0.0), (0.02, 0.05), (0.1, 0.3), (0.0, 0.1)]
)
def test_presence_and_age_follow_the_renewal_process(reads: float, writes: float) -> None:
    """Share present and mean age of 20,000 draws against 1,500 played entries, within 5 errors.

    The life is 10 s; each entry is played for 30 lives, so that its beginning is forgotten.
    """
    life_s, drawn_count, played_count = 10.0, 20_000, 1_500
    drawn = renewal(np.full(drawn_count, reads), life_s, writes, stream(1, "test", 0))
    rows = [played(reads, writes, life_s, seed, 30 * life_s) for seed in range(played_count)]
    present = np.array([row[0] for row in rows])
    ages = np.array([row[1] for row in rows])[present]
    share = float(np.mean(present))
    error = np.sqrt(share * (1 - share) / played_count)
    assert abs(float(np.mean(drawn.present)) - share) < 5 * error + 0.01
    age_error = float(np.std(ages)) / np.sqrt(len(ages))
    assert abs(float(np.mean(drawn.age_s[drawn.present])) - float(np.mean(ages))) < 5 * age_error
    assert drawn.age_s.min() >= 0
    assert drawn.age_s.max() <= life_s


def test_without_touches_it_is_the_ttl_formula() -> None:
    """Present with probability rT / (1 + rT), age uniform on the life."""
    rates = np.repeat([0.001, 0.01, 0.1], 20_000)
    found = renewal(rates, 60.0, 0.0, stream(1, "test", 0))
    for rate in (0.001, 0.01, 0.1):
        expected = rate * 60 / (1 + rate * 60)
        assert float(np.mean(found.present[rates == rate])) == pytest.approx(expected, abs=0.02)
    quartiles = np.quantile(found.age_s, [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([15, 30, 45], abs=0.5)


def test_few_touches_are_nearly_none() -> None:
    """The formula with touches runs into the one without."""
    rates = np.full(5_000, 0.01)
    without = renewal(rates, 3600.0, 0.0, stream(1, "test", 0))
    few = renewal(rates, 3600.0, 1e-12, stream(1, "test", 0))
    assert np.array_equal(without.present, few.present)
    assert few.age_s == pytest.approx(without.age_s, rel=1e-3)


def test_an_entry_that_is_written_all_the_time_is_there() -> None:
    """A thousand writes in each life, whether anybody reads it or not."""
    found = renewal(np.array([0.0, 1.0, 1e6] * 100), 3600.0, 0.3, stream(1, "test", 0))
    assert found.present.all()
    assert float(np.mean(found.age_s)) == pytest.approx(1 / 0.3, rel=0.3)


def test_past_their_life_entries_wait_for_the_next_look_up() -> None:
    """With a stale window: r T of T + 1/r of the time fresh, and of the rest those that have
    waited less than the window, an exponential time; fresh ones are left as they were."""
    rates, life_s, stale_s = np.full(40_000, 0.02), 50.0, 30.0
    fresh = renewal(rates, life_s, 0.0, stream(1, "test", 0))
    both = with_stale(fresh, rates, life_s, stale_s, stream(1, "test", 1))
    assert np.array_equal(both.age_s[fresh.present], fresh.age_s[fresh.present])
    late = both.present & ~fresh.present
    assert float(np.mean(late)) == pytest.approx(0.5 * (1 - np.exp(-0.02 * stale_s)), abs=0.01)
    assert both.age_s[late].min() >= life_s
    assert both.age_s[late].max() <= life_s + stale_s


def test_a_request_scoped_l1_starts_empty_and_lives_are_jittered() -> None:
    """Nothing is filled into a memory that no look-up would read; no entry outlives its own TTL."""
    asked = scenario(
        l1={"scope": "request"},
        kv={"expiration_ttl_s": {"attribution": 600}, "ttl_jitter": 0.5, "stale_ttl_s": 60},
    )
    with Deployed(asked, steady=True) as world:
        assert len(world.world.nodes[0].pool.isolates[0].worker.cache.l1) == 0
        config, model = stack_config(asked), asked.workload.attribution.model
        rests_s = []
        for conversion in world.prepared.population.conversions:
            key = cache_key("attribution", conversion.conversion_id, model)
            version = world.world.kv.read(key)
            if version.text is not None:
                rest_s = (version.metadata["e"] - world.runtime.wall_us()) / SECOND
                assert version.expires_us == round((rest_s + 60) * SECOND)
                rests_s.append(rest_s / config.life_s("attribution", key, negative=False))
        assert len(rests_s) > 5
        assert max(rests_s) <= 1


def test_what_is_filled_is_what_the_stack_would_have_written() -> None:
    """Every entry has the stack's text, expires within its life, and copies are no older."""
    load = {"attribution": {"rate_per_s": 3.0}}
    asked = scenario(workload=load, kv={"expiration_ttl_s": {"attribution": 600}})
    with Deployed(asked, steady=True) as world:
        node = world.world.nodes[0]
        conversions = world.prepared.population.conversions
        model = world.scenario.workload.attribution.model
        in_kv = in_copies = in_l1 = 0
        for conversion, answer in zip(conversions, world.prepared.answers, strict=True):
            key = cache_key("attribution", conversion.conversion_id, model)
            version = world.world.kv.read(key)
            copy = node.kv.fresh(key, 60 * SECOND, 0)
            held = node.pool.isolates[0].worker.cache.l1.get(key)
            if version.text is not None:
                in_kv += 1
                assert version.text == answer
                assert 0 < version.expires_us <= 600 * SECOND
                assert version.metadata["e"] - world.runtime.wall_us() == version.expires_us
            for lower in (copy and copy.version.text, held):
                assert lower in (None, version.text)
            in_copies += copy is not None
            in_l1 += held is not None
        assert len(conversions) >= in_kv > max(in_copies, in_l1) > min(in_copies, in_l1) > 0


Shares = Callable[[Unit], Share]


def hits(unit: Unit) -> Share:
    return Share(unit.counts["cache.part"], unit.counts["cache.total"])


def answered_by_l1(unit: Unit) -> Share:
    return Share(unit.counts["cache.attribution.l1"], unit.counts["cache.total"])


def slow(unit: Unit) -> Share:
    """Look-ups over 25 ms: those that a node's copy or L1 answered take 13 ms at most."""
    latency = unit.series["latency.attribution.intended"]
    ranks = range(1, latency.count + 1)
    fast = bisect_right(ranks, 25_000, key=latency.value_at_rank)
    return Share(latency.count - fast, latency.count)


TWO_NODES = [{"name": "fra", "share": 0.7}, {"name": "ams", "share": 0.3}]


@pytest.mark.parametrize(
    ("touches", "edge", "kv"),
    [
        (0.7, {}, {}),
        (0.0, {"isolates_per_node": 3}, {}),
        (0.0, {"nodes": TWO_NODES}, {}),
        (0.7, {}, {"stale_ttl_s": 10}),
    ],
)
def test_a_steady_start_is_where_a_long_run_arrives(
    touches: float, edge: dict[str, Any], kv: dict[str, Any]
) -> None:
    """With a TTL of 60 s: at once, and after a cold start that waited out three TTLs.

    The 95 % intervals (4 replications each) of the hit ratio overlap, and so do those of what L1
    answered and of what had to go beyond the node.
    """
    asked: dict[str, Any] = {
        "workload": {
            "attribution": {"rate_per_s": 15.0},
            "tracking": {"rate_per_s": touches, "attributed_share": 1.0},
        },
        "kv": {"expiration_ttl_s": {"attribution": 60}, **kv},
        "data": {"max_paths": 150},
        "edge": edge,
    }
    steady = simulate(scenario(**asked, measure={"window_s": 30.0, "warmup_s": 0.0}), 1, 4).record
    long_run = {"start": "cold", "warmup_s": 180.0, "window_s": 60.0}
    cold = simulate(scenario(**asked, measure=long_run), 101, 4).record
    for share in (hits, answered_by_l1, slow):
        expected, found = estimate(cold, share), estimate(steady, share)
        assert 0.1 < (expected.value or 0) < 0.95
        assert overlap(expected, found), (share.__name__, expected, found)


def estimate(record: RunRecord, share: Shares) -> Estimate:
    return ratio([share(unit) for unit in record.units], "replications", wider=True)


def overlap(one: Estimate, other: Estimate) -> bool:
    assert one.interval is not None
    assert other.interval is not None
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]
