"""The workload plan: partition, random access, rates and popularity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.plan import ATTRIBUTION, TRACKING, Chunk, Plan, zipf_thresholds
from scenarios.schema import Scenario
from scenarios.streams import ONE

CONVERSIONS = 300


def scenario(**parts: Any) -> Scenario:
    """A scenario of 10 s warm-up and 40 s window at 2 x 150 requests a second."""
    given = {
        "measure": {"warmup_s": 10, "window_s": 40},
        "workload": {"attribution": {"rate_per_s": 150}, "tracking": {"rate_per_s": 150}},
    }
    return Scenario.model_validate({**given, **parts})


def arrays(chunk: Chunk) -> list[list[int]]:
    """Everything in a chunk, as plain lists."""
    columns = (chunk.intended_us, chunk.route, chunk.key, chunk.attributed, chunk.node)
    return [column.tolist() for column in columns]


def joined(plan: Plan) -> dict[str, np.ndarray[Any, Any]]:
    """The whole plan, column by column."""
    chunks = list(plan)
    names = ("intended_us", "route", "key", "attributed", "node")
    return {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}


def test_chunks_partition_the_requests() -> None:
    """Chunks follow each other without gap or overlap; all but the last are full."""
    chunks = list(Plan(scenario(), 1, CONVERSIONS))
    assert [chunk.first for chunk in chunks] == [i * Plan.CHUNK for i in range(len(chunks))]
    assert all(len(chunk) == Plan.CHUNK for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= Plan.CHUNK
    assert all(len(column) == len(chunk) for chunk in chunks for column in arrays(chunk))


def test_times_never_fall_and_stay_below_the_horizon() -> None:
    """Arrivals are ordered across chunks and end before the horizon."""
    plan = Plan(scenario(), 1, CONVERSIONS)
    times = joined(plan)["intended_us"]
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < plan.horizon_us == 50_000_000
    assert (plan.window.start_us, plan.window.end_us) == (10_000_000, 50_000_000)


def test_a_cool_down_goes_on_after_the_window() -> None:
    """The same arrivals as without, and more; the window is where it was."""
    short = Plan(scenario(), 1, CONVERSIONS)
    measure = {"warmup_s": 10, "window_s": 40, "cooldown_s": 5}
    long = Plan(scenario(measure=measure), 1, CONVERSIONS)
    assert (long.window, long.horizon_us) == (short.window, 55_000_000)
    before, whole = joined(short)["intended_us"], joined(long)["intended_us"]
    assert whole[: len(before)].tolist() == before.tolist()
    assert whole[-1] > 54_000_000


@given(order=st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_random_access_agrees_with_iteration(order: list[int]) -> None:
    """A chunk is the same in whatever order chunks are asked for."""
    straight = [arrays(chunk) for chunk in Plan(scenario(), 5, CONVERSIONS)]
    plan = Plan(scenario(), 5, CONVERSIONS)
    assert len(straight) == 4
    assert all(arrays(plan.chunk(index)) == straight[index] for index in order)


@pytest.mark.parametrize("index", [-1, 4, 1000])
def test_chunks_outside_the_plan_are_refused(index: int) -> None:
    """There is nothing before 0 nor beyond the horizon."""
    with pytest.raises(IndexError):
        Plan(scenario(), 5, CONVERSIONS).chunk(index)


def test_no_arrival_gives_no_chunk() -> None:
    """A plan so slow that nobody comes is empty, not a chunk of nothing."""
    slow = {"attribution": {"rate_per_s": 1e-9}, "tracking": {"rate_per_s": 0}}
    assert list(Plan(scenario(workload=slow), 1, CONVERSIONS)) == []


def test_an_empty_population_is_refused() -> None:
    """Look-ups need somebody to ask about."""
    with pytest.raises(ValueError, match="no conversion"):
        Plan(scenario(), 1, 0)


def test_arrivals_are_poisson() -> None:
    """Over replications the mean count is the expected one and the variance equals the mean.

    Four standard errors on each: a correct plan fails with probability below 1e-4, and the
    seeds are fixed.
    """
    asked = scenario(measure={"warmup_s": 0, "window_s": 4})
    plans = [Plan(asked, seed, CONVERSIONS) for seed in range(200)]
    counts = np.array([sum(map(len, plan)) for plan in plans])
    mean = plans[0].expected_requests()
    assert mean == 1200
    assert abs(counts.mean() - mean) < 4 * np.sqrt(mean / len(counts))
    assert abs(counts.var(ddof=1) / mean - 1) < 4 * np.sqrt(2 / (len(counts) - 1))


def test_marks_have_their_shares() -> None:
    """Route, attributed share and node are drawn with their probabilities (4 sigma)."""
    asked = scenario(
        workload={
            "attribution": {"rate_per_s": 75},
            "tracking": {"rate_per_s": 225, "attributed_share": 0.2, "visitors": 50},
        },
        edge={
            "nodes": [
                {"name": "a", "region": "weur", "share": 0.7},
                {"name": "b", "region": "enam", "share": 0.3},
            ]
        },
    )
    drawn = joined(Plan(asked, 2, CONVERSIONS))
    tracking = drawn["route"] == TRACKING
    assert_share((drawn["route"] == ATTRIBUTION), 0.25)
    assert_share(drawn["attributed"][tracking], 0.2)
    assert_share(drawn["node"] == 0, 0.7)
    assert set(drawn["node"].tolist()) == {0, 1}
    assert not drawn["attributed"][~tracking].any()
    visitors = drawn["key"][tracking & ~drawn["attributed"]]
    assert (visitors.min(), visitors.max()) == (0, 49)
    touched = drawn["key"][drawn["attributed"]]
    assert 0 <= touched.min() <= touched.max() < CONVERSIONS


def assert_share(hits: np.ndarray[Any, Any], share: float) -> None:
    """The share of hits is ``share`` within four standard errors."""
    assert abs(hits.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(hits))


def test_keys_follow_their_rates() -> None:
    """The frequency of each conversion agrees with ``rates_per_s`` (chi-square, 4 sigma)."""
    plan = Plan(scenario(), 3, CONVERSIONS)
    drawn = joined(plan)
    keys = drawn["key"][drawn["route"] == ATTRIBUTION]
    expected = plan.rates_per_s() / plan.rates_per_s().sum() * len(keys)
    counts = np.bincount(keys, minlength=CONVERSIONS)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = CONVERSIONS - 1
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_rates_are_zipf_and_sum_to_the_rate() -> None:
    """Sorted, the rates fall as k^-s; together they are the rate of the look-ups."""
    plan = Plan(scenario(), 3, CONVERSIONS)
    rates = np.sort(plan.rates_per_s())[::-1]
    ranks = np.arange(1, CONVERSIONS + 1)
    weights = ranks**-1.1 / (ranks**-1.1).sum()
    assert rates.sum() == pytest.approx(150)
    assert rates == pytest.approx(150 * weights, rel=1e-5)


def test_popularity_depends_on_the_data_seed_alone() -> None:
    """Replications share their hot keys; another data seed has others."""
    base = Plan(scenario(), 1, CONVERSIONS).rates_per_s().tolist()
    assert Plan(scenario(), 2, CONVERSIONS).rates_per_s().tolist() == base
    other = Plan(scenario(data={"seed": 2}), 1, CONVERSIONS).rates_per_s().tolist()
    assert other != base
    assert sorted(other) == sorted(base)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"seed": 9}},
        {"edge": {"nodes": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]}},
        {
            "workload": {
                "attribution": {"rate_per_s": 150, "zipf_s": 0.5},
                "tracking": {"rate_per_s": 150, "attributed_share": 0.5, "visitors": 7},
            }
        },
    ],
)
def test_one_setting_leaves_the_other_draws_in_place(change: dict[str, Any]) -> None:
    """Keys, shares and nodes do not move times or routes."""
    base = Plan(scenario(), 1, CONVERSIONS).chunk(1)
    changed = Plan(scenario(**change), 1, CONVERSIONS).chunk(1)
    assert changed.intended_us.tolist() == base.intended_us.tolist()
    assert changed.route.tolist() == base.route.tolist()


@given(count=st.integers(1, 500), exponent=st.floats(0, 5))
@settings(max_examples=50, deadline=None)
def test_zipf_thresholds_cover_everything(count: int, exponent: float) -> None:
    """Thresholds never fall and end at exactly 1, so that every draw finds a rank."""
    found = zipf_thresholds(count, exponent)
    assert (np.diff(found) >= 0).all()
    assert found[-1] == ONE
    assert len(found) == count


def test_even_popularity() -> None:
    """Exponent 0 makes all ranks equal."""
    assert np.diff(zipf_thresholds(4, 0.0), prepend=0).tolist() == [ONE // 4] * 4
