"""Intervals against dull oracles: sums of binomial terms, tables of t, coverage on known laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.profiling.hdr import Histogram
from reports.intervals import (
    Sample,
    Share,
    binomial_quantile,
    clopper_pearson,
    nothing,
    order_statistics,
    percentile,
    ratio,
    repeats_needed,
    student_half_width,
)


def sample(values: Sequence[int], failed: int = 0) -> Sample:
    histogram = Histogram()
    histogram.record_many(values)
    return Sample(histogram, failed)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """The dull oracle: the sum of the terms."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@given(
    st.sampled_from([0.025, 0.5, 0.975]), st.integers(1, 150), st.sampled_from([0.05, 0.5, 0.95])
)
def test_binomial_quantile_is_the_smallest_that_reaches_q(q: float, n: int, p: float) -> None:
    """P(B <= k) >= q holds for k and for nothing below it."""
    k = binomial_quantile(q, n, p)
    assert binomial_cdf(k, n, p) >= q - 1e-12
    assert k == 0 or binomial_cdf(k - 1, n, p) < q + 1e-12


@given(st.integers(1, 200), st.data())
def test_clopper_pearson_ends_are_where_the_tails_hold_two_and_a_half_percent(
    n: int, data: st.DataObject
) -> None:
    """At the low end as many or more have 2.5 %, at the high end as many or fewer."""
    k = data.draw(st.integers(0, n))
    found = clopper_pearson(k, n)
    assert found.interval is not None
    low, high = found.interval
    assert low <= k / n <= high
    assert low == 0 if k == 0 else 1 - binomial_cdf(k - 1, n, low) == pytest.approx(0.025)
    assert high == 1 if k == n else binomial_cdf(k, n, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("k", "t"), [(2, 12.706), (5, 2.776), (30, 2.045)])
def test_student_half_width_uses_the_tables_t(k: int, t: float) -> None:
    """Values with standard deviation s: t s / sqrt(k), t from the printed table."""
    values = [float(value) for value in range(k)]
    s = float(np.std(values, ddof=1))
    assert student_half_width(values) == pytest.approx(t * s / math.sqrt(k), rel=1e-3)


def test_repeats_needed_is_the_first_that_is_narrow_enough() -> None:
    """With s = 3.162 and 2 ms to go: 12 units give 2.009 ms, 13 give 1.911; too many is None."""
    half = student_half_width([40, 42, 44, 46, 48])
    assert repeats_needed(half, 5, 2.0, 100) == 13
    assert repeats_needed(half, 5, 2.0, 12) is None
    assert repeats_needed(half, 5, 0.0, 100) is None


def test_order_statistics_cover_the_true_percentile_as_often_as_they_say() -> None:
    """Over 400 runs of 200 exponential samples, the true P95 lies inside in 95 % or a bit more.

    Expected 95 to 97 %; below 92.5 % would happen by chance once in 100 such tests at most.
    """
    draws = np.random.Generator(np.random.Philox(5))
    true_us = -math.log(0.05) * 1e6
    inside = 0
    for _ in range(400):
        values = (draws.standard_exponential(200) * 1e6).astype(np.int64)
        found = order_statistics(sample(values.tolist()), 0.95).interval
        assert found is not None
        inside += found[0] <= true_us <= found[1]
    assert inside >= 0.925 * 400


def test_failed_samples_rank_above_all_others() -> None:
    """5 of 100 failed: P95 is the largest value, and the upper end is open; one more, none."""
    some = order_statistics(sample(range(1, 96), failed=5), 0.95)
    assert some.value == 95
    assert some.interval is not None
    assert some.interval[1] == math.inf
    none = order_statistics(sample(range(1, 95), failed=6), 0.95)
    assert (none.value, none.interval, none.samples, none.failed) == (None, None, 100, 6)


def test_replications_give_a_t_interval_around_the_pooled_value() -> None:
    """Five units with P95 of 95, 96, ... 99: the pooled value, and t over the five."""
    units = [sample(range(shift, 100 + shift)) for shift in range(1, 6)]
    found = percentile(units, 0.95, "replications", wider=False)
    assert found.value is not None
    assert found.interval is not None
    half = 2.776 * np.std([95, 96, 97, 98, 99], ddof=1) / math.sqrt(5)
    assert found.interval == pytest.approx((found.value - half, found.value + half), rel=1e-3)
    assert (found.method, found.repeats, found.samples) == ("5 replications, Student t", 5, 500)


def test_one_unit_or_a_small_one_falls_back_to_order_statistics() -> None:
    """t needs at least two units, all of them with 90 samples."""
    big, small = sample(range(1, 101)), sample(range(1, 90))
    for units in ([big], [big, small]):
        found = percentile(units, 0.95, "blocks", wider=False)
        assert (found.method, found.repeats) == ("order statistics of all samples", 1)


def test_a_run_in_real_time_takes_the_wider_interval() -> None:
    """Equal blocks have no spread, so order statistics win; unequal ones spread more, so t does."""
    equal = [sample(range(1, 101))] * 4
    assert percentile(equal, 0.95, "blocks", wider=True).method.startswith("order statistics")
    assert percentile(equal, 0.95, "blocks", wider=False).interval == (95, 95)
    unequal = [sample(range(1, 101)), sample(range(1001, 1101))]
    assert percentile(unequal, 0.95, "blocks", wider=True).method == "2 blocks, Student t"


def test_ratio_chooses_like_percentile_and_stays_within_zero_and_one() -> None:
    """t over units of 90 or more, Clopper-Pearson otherwise, never beyond 0 or 1."""
    wide = ratio([Share(100, 100), Share(80, 100)], "replications", wider=False)
    assert (wide.value, wide.interval) == (0.9, (0, 1))
    assert wide.method == "2 replications, Student t"
    assert ratio([Share(80, 89)] * 2, "replications", wider=False).method.startswith("Clopper")
    assert ratio([], "replications", wider=False) == nothing("no samples")


def test_scaling_keeps_what_has_no_unit() -> None:
    """Value and interval change, counts and words do not; nothing stays nothing."""
    found = order_statistics(sample(range(1000, 1100)), 0.95).scaled(0.001)
    assert found.value == pytest.approx(1.094, abs=0.001)
    assert found.samples == 100
    assert nothing("why").scaled(5) == nothing("why")
