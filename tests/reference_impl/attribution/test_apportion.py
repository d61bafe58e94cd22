"""Apportioning: the whole, in proportion, as whole numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reference_impl.attribution.apportion import apportion, integer_weights

weights_of_any_kind = st.lists(st.integers(0, 12) | st.integers(0, 2**70), min_size=1, max_size=40)
wholes = st.integers(0, 20_000)


def by_hand(weights: list[int], whole: int) -> list[int]:
    """Largest remainder as a textbook states it: round down, then serve the neediest in turn."""
    exact = [Fraction(whole * weight, sum(weights)) for weight in weights]
    parts = [int(share) for share in exact]
    while sum(parts) < whole:
        missing = [share - part for share, part in zip(exact, parts, strict=True)]
        parts[missing.index(max(missing))] += 1
    return parts


@given(weights_of_any_kind, wholes)
def test_agrees_with_the_textbook(weights: list[int], whole: int) -> None:
    """Equal to a slow version in fractions, for weights small, huge, equal and zero."""
    assume(any(weights))
    assert apportion(weights, whole) == by_hand(weights, whole)


@given(weights_of_any_kind, wholes)
def test_parts_sum_to_the_whole_and_keep_to_their_quota(weights: list[int], whole: int) -> None:
    """No part is a whole unit off its exact share, none is lost, and a weight of 0 gets 0."""
    assume(any(weights))
    parts = apportion(weights, whole)
    assert sum(parts) == whole
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(whole * weight, sum(weights))) < 1
        assert weight or not part


def test_left_over_units_go_to_the_earliest_of_equals() -> None:
    """Three equal weights share 100 as 34, 33, 33."""
    assert apportion([1, 1, 1], 100) == [34, 33, 33]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [3, -1], [-1]])
def test_weights_that_divide_nothing_are_refused(weights: list[int]) -> None:
    """Without a positive weight, or with a negative one, there is no proportion."""
    with pytest.raises(ValueError, match="weights must not be negative"):
        apportion(weights, 100)


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=20))
def test_integer_weights_keep_the_proportions(weights: list[float]) -> None:
    """Relative to the largest, a weight loses less than 2 parts in 10^16."""
    integers = integer_weights(weights)
    largest = max(weights)
    for weight, integer in zip(weights, integers, strict=True):
        exact = Fraction(weight) / Fraction(largest)
        assert abs(Fraction(integer, max(integers)) - exact) < Fraction(2, 10**16)


@given(st.floats(5e-324, 1e308), st.integers(1, 50))
def test_weights_of_any_size_can_be_apportioned(weight: float, count: int) -> None:
    """From the smallest float there is to nearly the largest, equal weights share equally."""
    parts = apportion(integer_weights([weight] * count + [0.0]), 100)
    assert parts[-1] == 0
    assert max(parts[:-1]) - min(parts[:-1]) <= 1
