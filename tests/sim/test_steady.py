"""The steady start: renewal formulas against a played renewal process, and against a long run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference_impl.keys import cache_key
from reports.intervals import Estimate, Share, ratio
from reports.record import RunRecord
from scenarios.streams import stream
from sim.simulate import simulate
from sim.steady import renewal
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


def test_what_is_filled_is_what_the_stack_would_have_written() -> None:
    """Every entry has the stack's text, expires within its life, and copies are no older."""
    with Deployed(scenario(kv={"expiration_ttl_s": {"attribution": 600}}), steady=True) as world:
        node = world.world.nodes[0]
        conversions = world.prepared.population.conversions
        model = world.scenario.workload.attribution.model
        in_kv = in_copies = in_l1 = 0
        for conversion, answer in zip(conversions, world.prepared.answers, strict=True):
            key = cache_key("attribution", conversion.conversion_id, model)
            version = world.world.kv.read(key)
            copy = node.kv_cache.fresh(key, 60 * SECOND)
            held = node.isolates[0].worker.cache.l1.get(key)
            if version.text is not None:
                in_kv += 1
                assert version.text == answer
                assert 0 < version.expires_us <= 600 * SECOND
                assert version.metadata["e"] - world.runtime.wall_us() == version.expires_us
            for lower in (copy and copy.text, held):
                assert lower in (None, version.text)
            in_copies += copy is not None
            in_l1 += held is not None
        assert len(conversions) >= in_kv > max(in_copies, in_l1) > min(in_copies, in_l1) > 0


def hit_ratio(record: RunRecord) -> Estimate:
    units = [Share(unit.counts["cache.part"], unit.counts["cache.total"]) for unit in record.units]
    return ratio(units, "replications", wider=True)


TWO_NODES = [{"name": "fra", "share": 0.7}, {"name": "ams", "share": 0.3}]


@pytest.mark.parametrize(
    ("touches", "edge"),
    [(0.0, {}), (0.7, {}), (0.0, {"isolates_per_node": 3}), (0.0, {"nodes": TWO_NODES})],
)
def test_a_steady_start_is_where_a_long_run_arrives(touches: float, edge: dict[str, Any]) -> None:
    """Hit ratio with a TTL of 60 s: at once, and after a cold start that waited out three TTLs.

    The intervals (95 %, 4 replications) overlap; so do those of the share that L1 answered.
    """
    asked: dict[str, Any] = {
        "workload": {
            "attribution": {"rate_per_s": 15.0},
            "tracking": {"rate_per_s": touches, "attributed_share": 1.0},
        },
        "kv": {"expiration_ttl_s": {"attribution": 60}},
        "data": {"max_paths": 150},
        "edge": edge,
    }
    steady = simulate(scenario(**asked, measure={"window_s": 30.0, "warmup_s": 0.0}), 1, 4).record
    cold_start = {"start": "cold", "warmup_s": 180.0, "window_s": 60.0}
    cold = simulate(scenario(**asked, measure=cold_start), 101, 4).record
    expected, found = hit_ratio(cold), hit_ratio(steady)
    assert expected.value is not None
    assert 0.3 < expected.value < 0.9
    assert overlap(expected, found), (expected, found)
    assert overlap(l1_share(cold), l1_share(steady)), (l1_share(cold), l1_share(steady))


def l1_share(record: RunRecord) -> Estimate:
    units = [
        Share(unit.counts["cache.attribution.l1"], unit.counts["cache.total"])
        for unit in record.units
    ]
    return ratio(units, "replications", wider=True)


def overlap(one: Estimate, other: Estimate) -> bool:
    assert one.interval is not None
    assert other.interval is not None
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]
