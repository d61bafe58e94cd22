"""The statistics of a change: textbook values, an oracle, and what must hold for any values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from reports.shifts import MOST_UNITS, Shift, holm, independent, paired
from tests.oracles.closed_testing import rejected

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)
PAIRS = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=12)
LEVELS = st.floats(1e-6, 0.5)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
@given(PAIRS)
def test_paired_is_the_textbook_s(pairs: list[tuple[float, float]]) -> None:
    """p-value and interval as another library has them."""
    new, old = map(list, zip(*pairs, strict=True))
    shift = paired(new, old)
    assume(shift.spread > 1e-6)
    told = stats.ttest_rel(new, old)
    assert shift.p_value() == pytest.approx(told.pvalue, rel=1e-6, abs=1e-12)
    assert shift.interval(0.05) == pytest.approx(tuple(told.confidence_interval(0.95)), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
@given(VALUES, VALUES)
def test_independent_is_the_textbook_s(new: list[float], old: list[float]) -> None:
    """The two-sample test with one common variance."""
    shift = independent(new, old)
    assume(shift.spread > 1e-6)
    told = stats.ttest_ind(new, old)
    assert shift.p_value() == pytest.approx(told.pvalue, rel=1e-6, abs=1e-12)
    assert shift.interval(0.05) == pytest.approx(tuple(told.confidence_interval(0.95)), rel=1e-6)


def test_one_against_many_is_a_prediction_interval() -> None:
    """A single new value is judged by the spread of the old ones: t s sqrt(1 + 1/n)."""
    old = [1.0, 2.0, 3.0, 4.0, 5.0]
    half = stats.t.ppf(0.975, 4) * math.sqrt(2.5) * math.sqrt(1 + 1 / 5)
    assert independent([9.0], old).interval(0.05) == pytest.approx((6 - half, 6 + half))


@given(VALUES, VALUES, LEVELS)
def test_sides_swapped_turn_the_sign(new: list[float], old: list[float], level: float) -> None:
    """What is worse one way is better the other way, and as sure."""
    there, back = independent(new, old), independent(old, new)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p_value() == pytest.approx(back.p_value())
    low, high = back.interval(level)
    assert there.interval(level) == pytest.approx((-high, -low))


@given(PAIRS, st.floats(-100, 100))
def test_what_both_sides_share_does_not_matter(
    pairs: list[tuple[float, float]], common: float
) -> None:
    """The same amount added to both of a pair changes nothing."""
    new, old = zip(*pairs, strict=True)
    before = paired(new, old)
    after = paired([value + common for value in new], [value + common for value in old])
    assert after.mean == pytest.approx(before.mean, abs=1e-9)
    assert after.spread == pytest.approx(before.spread, rel=1e-6, abs=1e-6)


@given(VALUES, VALUES, LEVELS)
def test_an_interval_excludes_zero_where_the_test_rejects(
    new: list[float], old: list[float], level: float
) -> None:
    """The same decision by either, and the estimate lies inside."""
    shift = independent(new, old)
    p_value = shift.p_value()
    assume(abs(p_value - level) > 1e-6)
    low, high = shift.interval(level)
    assert low <= shift.mean <= high
    assert (p_value < level) == (not low <= 0 <= high)


@given(VALUES, VALUES, LEVELS, LEVELS)
def test_surer_is_wider(new: list[float], old: list[float], one: float, other: float) -> None:
    """An interval that errs less holds the one that errs more."""
    inner, outer = (
        independent(new, old).interval(level) for level in (max(one, other), min(one, other))
    )
    assert outer[0] <= inner[0] <= inner[1] <= outer[1]


@given(st.floats(0.01, 10), st.integers(2, 8), st.booleans(), LEVELS, st.floats(0.1, 10))
def test_units_needed_are_enough_and_no_more(
    spread: float, units: int, pair: bool, level: float, distance: float
) -> None:
    """With that many half the interval is under the distance; with one fewer it is not."""
    now = Shift(0.0, spread, units - 1 if pair else 2 * units - 2, units, units, pair)
    needed = now.units_needed(level, distance)

    def half(n: int) -> float:
        freedom = n - 1 if pair else 2 * n - 2
        return Shift(0.0, spread, freedom, n, n, pair).interval(level)[1]

    if needed is None:
        assert half(MOST_UNITS) >= distance
        return
    assert needed > units
    assert half(needed) < distance
    assert needed == units + 1 or half(needed - 1) >= distance


def test_one_unit_a_side_shows_a_difference_and_no_certainty() -> None:
    """Nothing is known of the spread, so nothing is excluded and no number of units is named."""
    for shift in (paired([3.0], [1.0]), independent([3.0], [1.0])):
        assert (shift.mean, shift.freedom, shift.p_value()) == (2.0, 0, 1.0)
        assert shift.interval(0.05) == (-math.inf, math.inf)
        assert shift.units_needed(0.05, 1.0) is None


def test_no_difference_at_all_is_no_evidence_of_one() -> None:
    """p is 1 for equal values, and 0 for a constant difference that is finer than nothing."""
    assert paired([1.0, 2.0], [1.0, 2.0]).p_value() == 1.0
    assert paired([2.0, 3.0], [1.0, 2.0]).p_value() == 0.0
    assert paired([2.0, 3.0], [1.0, 2.0], resolution=0.5).p_value() > 0.1


def test_what_cannot_be_compared_is_refused() -> None:
    """Pairs need partners, and both sides a value."""
    for new, old in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(ValueError, match="cannot be paired"):
            paired(new, old)
    with pytest.raises(ValueError, match="cannot be compared"):
        independent([], [1.0])


@given(P_VALUES, st.floats(0.001, 0.5))
def test_holm_rejects_what_the_closed_procedure_rejects(
    p_values: list[float], alpha: float
) -> None:
    """The short way finds the same as trying every subset."""
    levels = holm(p_values, alpha)
    assert [p <= level for p, level in zip(p_values, levels, strict=True)] == rejected(
        p_values, alpha
    )


@given(P_VALUES, st.floats(0.001, 0.5))
def test_holm_levels_lie_between_bonferroni_and_alpha(p_values: list[float], alpha: float) -> None:
    """None is stricter than alpha / m, none laxer than alpha."""
    for level in holm(p_values, alpha):
        assert alpha / len(p_values) <= level <= alpha


def test_holm_of_nothing_is_nothing() -> None:
    """A build without comparisons."""
    assert holm([], 0.01) == []


@pytest.mark.parametrize(("new", "old"), [(1, 10), (3, 10), (2, 2)])
def test_drift_between_runs_raises_no_more_alarms_than_alpha(new: int, old: int) -> None:
    """Eight KPIs of runs that drift by 15 %, nothing changed: 5 % of 2,000 builds, not 32 %."""
    draws = np.random.Generator(np.random.Philox(new))
    alarms = 0
    for _ in range(2000):
        runs = 0.15 * draws.standard_normal((8, new + old))
        p_values = [independent(kpi[:new], kpi[new:]).p_value() for kpi in runs.tolist()]
        levels = holm(p_values, 0.05)
        alarms += any(p <= level for p, level in zip(p_values, levels, strict=True))
    assert stats.binomtest(alarms, 2000, 0.05, alternative="greater").pvalue > 0.001


def test_interleaving_cancels_a_drift_that_both_sides_share() -> None:
    """Neighbours in time drift together (correlation 0.95): 10 % is seen in most builds of ten
    pairs, and in few if the same runs are taken as independent."""
    draws = np.random.Generator(np.random.Philox(7))
    caught = {paired: 0, independent: 0}
    for _ in range(300):
        common = 0.15 * math.sqrt(0.95) * draws.standard_normal(10)
        new, old = (common + 0.15 * math.sqrt(0.05) * draws.standard_normal((2, 10))).tolist()
        new = [value + math.log(1.1) for value in new]
        for way in caught:
            shift = way(new, old)
            caught[way] += shift.mean > 0 and shift.p_value() < 0.05
    assert caught[paired] > 3 * caught[independent]
    assert caught[paired] > 0.8 * 300
