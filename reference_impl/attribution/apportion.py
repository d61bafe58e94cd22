"""Whole parts in proportion to weights, by largest remainder and in exact integers."""

from __future__ import annotations

from collections.abc import Sequence

_ONE = 1 << 53
"""A float carries 53 bits, so more would add nothing."""


def apportion(weights: Sequence[int], whole: int) -> list[int]:
    """Cut ``whole`` into integers in proportion to ``weights``; their sum is exactly ``whole``.

    Each part is its exact share rounded down or up. What rounding down leaves over goes, one
    each, to the largest remainders, among equal ones to the earliest. A weight of 0 gets 0.

    Raises:
        ValueError: when a weight is negative, or none is above 0.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("weights must not be negative, and at least one must be above 0")
    divided = [divmod(whole * weight, total) for weight in weights]
    parts = [part for part, _ in divided]
    by_remainder = sorted(range(len(parts)), key=lambda at: divided[at][1], reverse=True)
    for at in by_remainder[: whole - sum(parts)]:
        parts[at] += 1
    return parts


def integer_weights(weights: Sequence[float]) -> list[int]:
    """Weights for :func:`apportion`, as 53-bit integers relative to the largest, which is not 0.

    What is under 1e-16 of the largest becomes 0, far below a hundredth of a percent.
    """
    largest = max(weights)
    return [int(weight / largest * _ONE) for weight in weights]
