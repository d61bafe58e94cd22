"""The histogram wrapper against sorted lists, and against ``hdrh`` where that is right."""

from __future__ import annotations

import base64
import contextlib
import copy
import pickle
import zlib
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.profiling.hdr import TOP_US, Histogram, rank_of

in_range = st.one_of(
    st.integers(1, 5000), st.integers(1, TOP_US), st.sampled_from([1, 2047, 2048, 2049, TOP_US])
)
anything = st.one_of(in_range, st.integers(-5, 3), st.integers(TOP_US, 10 * TOP_US))
few = settings(max_examples=40)  # each example fills several arrays of 23,552 counters
percentiles = st.sampled_from([0.001, 0.07, 0.5, 0.9, 0.95, 0.99, 0.9999, 1.0])


def histogram(values: Sequence[int]) -> Histogram:
    made = Histogram()
    made.record_many(values)
    return made


def by_hdrh(values: Sequence[int]) -> Any:
    made = HdrHistogram(1, TOP_US, 3)
    for value in values:
        made.record_value(value)
    return made


@few
@given(st.lists(in_range, min_size=1, max_size=60), percentiles)
def test_percentile_is_the_sample_of_its_rank(values: list[int], p: float) -> None:
    """At most 0.1 % above the sorted list's sample of rank ceil(p n), not below, nor above max."""
    exact = sorted(values)[ceil(Fraction(str(p)) * len(values)) - 1]
    found = histogram(values).percentile(p)
    assert found is not None
    assert exact <= found <= min(max(exact * 1.001, exact), max(values))


@few
@given(st.lists(in_range, max_size=60))
def test_encoding_is_byte_for_byte_that_of_hdrh(values: list[int]) -> None:
    """Recording in bulk and recording one by one into hdrh give the same V2 blob."""
    assert histogram(values).to_json()["v2"] == by_hdrh(values).encode().decode()


@few
@given(st.lists(anything, max_size=60))
def test_bulk_recording_equals_recording_one_by_one(values: list[int]) -> None:
    """The exact numbers and every counter agree, out-of-range values included."""
    single = Histogram()
    for value in values:
        single.record(value)
    assert histogram(values) == single


@few
@given(st.lists(anything, min_size=1, max_size=60))
def test_exact_numbers_are_those_of_the_values_given(values: list[int]) -> None:
    """Count, overflow, minimum, maximum and sum are exact; a negative value counts as zero."""
    made, true = histogram(values), [max(value, 0) for value in values]
    assert (made.count, made.overflow) == (len(true), sum(value > TOP_US for value in true))
    assert (made.min_us, made.max_us, made.sum_us) == (min(true), max(true), sum(true))


@few
@given(st.lists(anything, max_size=40), st.lists(anything, max_size=40))
def test_add_is_recording_both(first: list[int], second: list[int]) -> None:
    """Adding two histograms gives the histogram of the joined samples."""
    whole = histogram(first)
    whole.add(histogram(second))
    assert whole == histogram(first + second)


@few
@given(st.lists(anything, max_size=40), st.lists(anything, max_size=40))
def test_minus_gives_back_what_came_later(first: list[int], second: list[int]) -> None:
    """The difference of two cumulative readings holds the later samples, usable as a record."""
    whole = histogram(first + second)
    later = whole.minus(histogram(first))
    true = histogram(second)
    assert (later.count, later.overflow, later.sum_us) == (true.count, true.overflow, true.sum_us)
    assert Histogram.from_json(later.to_json()) == later
    if true.min_us is not None and true.max_us is not None:
        assert later.min_us is not None
        assert later.max_us is not None
        assert later.min_us <= true.min_us
        assert later.max_us >= true.max_us


def test_minus_refuses_what_is_no_prefix() -> None:
    """A server that restarted between two readings is an error, not a negative count."""
    with pytest.raises(ValueError, match="not a prefix"):
        histogram([10]).minus(histogram([20]))


@few
@given(st.lists(anything, max_size=60))
def test_json_round_trip_keeps_everything(values: list[int]) -> None:
    """What to_json writes, from_json reads back equal; pickling and copying do too."""
    made = histogram(values)
    assert Histogram.from_json(made.to_json()) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made


def test_empty_has_no_percentile_and_no_curve() -> None:
    """Nothing measured is None, not zero."""
    empty = Histogram()
    assert (empty.percentile(0.95), empty.min_us, empty.max_us, empty.curve()) == (
        None,
        None,
        None,
        [],
    )


def test_rank_is_exact_where_floats_are_not() -> None:
    """0.07 * 100 is rank 7 although the product of floats is above it."""
    assert rank_of(0.07, 100) == 7
    assert rank_of(0.95, 20) == 19
    assert rank_of(0.95, 11) == 11
    assert rank_of(0.0001, 5) == 1


@pytest.mark.parametrize(("p", "n"), [(0, 5), (1.1, 5), (0.5, 0)])
def test_rank_refuses_what_has_none(p: float, n: int) -> None:
    """A percentile outside (0, 1] and an empty sample have no rank."""
    with pytest.raises(ValueError, match="rank needs"):
        rank_of(p, n)


@pytest.mark.parametrize("rank", [0, 4])
def test_value_at_rank_refuses_a_rank_that_is_not_there(rank: int) -> None:
    """Ranks run from 1 to count."""
    with pytest.raises(ValueError, match="of 3 samples"):
        histogram([1, 2, 3]).value_at_rank(rank)


def test_only_zeros_read_as_zero() -> None:
    """Frozen timers can be told from a millisecond: their sum and percentiles are 0."""
    frozen = histogram([0] * 100)
    assert (frozen.sum_us, frozen.percentile(0.95)) == (0, 0)


def test_curve_rises_to_the_maximum_as_far_as_samples_carry() -> None:
    """The curve ends at (1, max), rises, and has a point at each power of ten of 1 - p."""
    made = histogram(range(1, 1001))
    curve = made.curve()
    assert curve[-1] == (1.0, 1000)
    assert curve == sorted(curve)
    assert [value for p, value in curve if abs(p - 0.9) < 1e-12] == [900]
    assert max(p for p, _ in curve[:-1]) <= 0.999


@pytest.mark.parametrize(
    "change",
    [
        {"v2": "no base64 !"},
        {"v2": 7},
        {"v2": ""},
        {"v2": base64.b64encode(b"12345678" + zlib.compress(bytes(10**6))).decode()},
        {"v2": HdrHistogram(1, 1000, 2).encode().decode()},
        {"count": 4},
        {"count": True},
        {"count": -1},
        {"overflow": 1},
        {"min_us": 1},
        {"max_us": None},
        {"max_us": 900},
        {"sum_us": 10},
        {"sum_us": 60.0},
    ],
)
def test_damaged_json_is_refused(change: dict[str, Any]) -> None:
    """A blob that is damaged or foreign, or numbers that contradict it, raise ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        Histogram.from_json({**histogram([10, 20, 30]).to_json(), **change})


@pytest.mark.parametrize("name", ["v2", "count", "overflow", "min_us", "max_us", "sum_us"])
def test_missing_parts_are_refused(name: str) -> None:
    """Every part of the JSON is needed."""
    data = histogram([10]).to_json()
    del data[name]
    with pytest.raises(ValueError, match=name):
        Histogram.from_json(data)


def test_an_empty_histogram_with_a_maximum_is_refused() -> None:
    """No samples, no maximum."""
    with pytest.raises(ValueError, match="empty histogram"):
        Histogram.from_json({**Histogram().to_json(), "min_us": 3, "max_us": 3})


@few
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_never_crashes(place: int, byte: int) -> None:
    """Damage inside the compressed part ends in ValueError or in the very same histogram."""
    data = histogram([10, 2000, 30_000_000]).to_json()
    raw = bytearray(base64.b64decode(data["v2"]))
    raw[place % len(raw)] = byte
    data["v2"] = base64.b64encode(raw).decode()
    found = None
    with contextlib.suppress(ValueError):
        found = Histogram.from_json(data)
    assert found in (None, histogram([10, 2000, 30_000_000]))


@given(st.lists(st.integers(0, 2_000), max_size=20), st.integers(1, 2_500))
def test_a_correction_adds_what_nobody_could_take(values: list[int], interval_us: int) -> None:
    """Sample by sample, where each value has a counter of its own; the original stays as it is."""
    measured, expected = histogram(values), histogram(values)
    for value in values:
        expected.record_many(
            list(range(max(value, 1) - interval_us, interval_us - 1, -interval_us))
        )
    assert measured.corrected(interval_us) == expected
    assert measured == histogram(values)


def test_a_correction_needs_an_interval() -> None:
    """There is no estimate for users of unknown pace."""
    with pytest.raises(ValueError, match="interval of 0 us"):
        Histogram().corrected(0)
