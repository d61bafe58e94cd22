"""How far one set of values lies from another, and how sure that is.

Two designs. Paired: each unit of the one side has its own of the other (the same seed, or the run
beside it), and Student's t over the differences leaves out what both have in common. Independent:
the two-sample t with one common variance, which also takes a single unit on one side; then it is a
prediction interval of the other side's values. Both are exact for normal values of which nothing
has changed; how far that holds for percentiles of few units is measured, not assumed
(``edgekpi gate --self-test``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

MOST_UNITS = 1000
"""More units a side than this are not worth naming."""


@dataclass(frozen=True, slots=True)
class Shift:
    """An estimated difference, new minus old, with its standard error.

    ``spread`` is the standard deviation of one difference (paired) or of one value (independent);
    ``freedom`` its degrees of freedom, 0 where one unit a side says nothing about it.
    """

    mean: float
    spread: float
    freedom: int
    new: int
    old: int
    paired: bool

    @property
    def error(self) -> float:
        """The standard error of ``mean``."""
        return self.spread * _shrinks(self.new, self.old, self.paired)

    def p_value(self) -> float:
        """Two-sided, of there being no difference at all; 1 if the spread is not known."""
        if not self.freedom or not self.mean:
            return 1.0
        if not self.error:
            return 0.0
        return 2 * float(special.stdtr(self.freedom, -abs(self.mean) / self.error))

    def interval(self, level: float) -> tuple[float, float]:
        """Where the difference lies, missed with probability ``level``; endless if not known."""
        if not self.freedom:
            return (-math.inf, math.inf)
        half = _half(level, self.freedom) * self.error
        return (self.mean - half, self.mean + half)

    def units_needed(self, level: float, distance: float) -> int | None:
        """How many units a side bring half the interval under ``distance``, if these are typical.

        At least one more than there are; ``None`` if over :data:`MOST_UNITS`, or if the spread is
        not known.
        """
        if not self.freedom:
            return None
        for units in range(min(self.new, self.old) + 1, MOST_UNITS + 1):
            freedom = _freedom(units, units, self.paired)
            if _half(level, freedom) * self.spread * _shrinks(units, units, self.paired) < distance:
                return units
        return None


def paired(new: Sequence[float], old: Sequence[float], resolution: float = 0.0) -> Shift:
    """The mean difference of values that belong together, in the same order.

    ``resolution`` is how finely values are told apart: less spread than that is not believed.
    Raises ``ValueError`` unless both have the same number of values, one at least.
    """
    if len(new) != len(old) or not new:
        raise ValueError(f"{len(new)} values cannot be paired with {len(old)}")
    differences = [a - b for a, b in zip(new, old, strict=True)]
    spread = math.sqrt(_square(differences) / max(len(new) - 1, 1))
    freedom = _freedom(len(new), len(old), True)
    spread = max(spread, resolution)
    return Shift(_mean(differences), spread, freedom, len(new), len(old), True)


def independent(new: Sequence[float], old: Sequence[float], resolution: float = 0.0) -> Shift:
    """The difference of the means of two sets of independent values.

    Raises ``ValueError`` if one of them is empty.
    """
    if not new or not old:
        raise ValueError(f"{len(new)} values cannot be compared with {len(old)}")
    freedom = _freedom(len(new), len(old), False)
    spread = math.sqrt((_square(new) + _square(old)) / max(freedom, 1))
    spread = max(spread, resolution)
    return Shift(_mean(new) - _mean(old), spread, freedom, len(new), len(old), False)


def holm(p_values: Sequence[float], alpha: float) -> list[float]:
    """The level of each of several tests, so that all together err with at most ``alpha``.

    By Holm (1979): the smallest p-value has to be at most alpha / m, the next alpha / (m - 1), and
    so on until one is above its level; that level then holds for all that are left. A test rejects
    where its p-value is at most its level.
    """
    levels = [alpha] * len(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    stopped_at: float | None = None
    for rank, index in enumerate(order):
        levels[index] = stopped_at or alpha / (len(order) - rank)
        if p_values[index] > levels[index]:
            stopped_at = levels[index]
    return levels


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _square(values: Sequence[float]) -> float:
    """The sum of squares around the mean."""
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _freedom(new: int, old: int, paired: bool) -> int:
    return new - 1 if paired else new + old - 2


def _shrinks(new: int, old: int, paired: bool) -> float:
    """The standard error of a difference of means, in units of the spread."""
    return math.sqrt(1 / new) if paired else math.sqrt(1 / new + 1 / old)


def _half(level: float, freedom: int) -> float:
    """The two-sided quantile of Student's t."""
    return -float(special.stdtrit(freedom, level / 2))
