"""What each channel earns over many paths, in hundredths of a percent, counted the dull way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from tests.oracles.paths import PublicPath

HUNDREDTHS = 10_000


def last_click_totals(paths: Iterable[PublicPath]) -> Counter[str]:
    """Everything to the channel at the end of each path."""
    totals: Counter[str] = Counter()
    for channels, conversions, _ in paths:
        totals[channels[-1]] += conversions * HUNDREDTHS
    return totals


def first_click_totals(paths: Iterable[PublicPath]) -> Counter[str]:
    """Everything to the channel at the beginning of each path."""
    totals: Counter[str] = Counter()
    for channels, conversions, _ in paths:
        totals[channels[0]] += conversions * HUNDREDTHS
    return totals


def linear_totals(paths: Iterable[PublicPath]) -> Counter[str]:
    """Hundredths dealt like cards, one to each touch in turn from the oldest."""
    totals: Counter[str] = Counter()
    for channels, conversions, _ in paths:
        for channel, hand in zip(channels, _dealt(len(channels)), strict=True):
            totals[channel] += conversions * hand
    return totals


@cache
def _dealt(touches: int) -> list[int]:
    hands = [0] * touches
    for card in range(HUNDREDTHS):
        hands[card % touches] += 1
    return hands
