"""Attribution models: pure functions from a journey to credits that sum to 100.

A journey is a list of touches, oldest first. Credits are shares of 100 as whole hundredths of a
percent, so that the two decimals shown sum to exactly 100.00 for any journey length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

HUNDREDTHS = 10_000
"""Hundredths of a percent in the whole."""


@dataclass(frozen=True, slots=True)
class Touch:
    """One contact of a journey: where it came from and when (``YYYY-MM-DDTHH:MM:SS.mmmZ``)."""

    utm_source: str | None
    event_timestamp: str


@dataclass(frozen=True, slots=True)
class Credit:
    """What one touch is credited with: percent with two decimals, and its role if it has one."""

    percent: float
    role: str | None = None


Model = Callable[[Sequence[Touch]], list[Credit]]


def last_click(journey: Sequence[Touch]) -> list[Credit]:
    """All credit to the newest touch."""
    last = len(journey) - 1
    return [Credit(100.0, "last") if i == last else Credit(0.0) for i in range(len(journey))]


def first_click(journey: Sequence[Touch]) -> list[Credit]:
    """All credit to the oldest touch."""
    return [Credit(0.0) if i else Credit(100.0, "first") for i in range(len(journey))]


def linear(journey: Sequence[Touch]) -> list[Credit]:
    """The same credit to every touch; hundredths that do not divide go to the oldest ones."""
    if not journey:
        return []
    each, left_over = divmod(HUNDREDTHS, len(journey))
    return [Credit((each + (i < left_over)) / 100) for i in range(len(journey))]


MODELS: Mapping[str, Model] = {
    "last_click": last_click,
    "first_click": first_click,
    "linear": linear,
}
"""The models by the names a request may ask for; anything else is refused."""
