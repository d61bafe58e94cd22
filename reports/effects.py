"""How large a change of a KPI has to be before anybody minds, and the scale it is measured on.

Percentiles and maxima change by a factor, ratios by a difference: a hit ratio of 96 % that falls by
a tenth of itself and one that falls by half a percentage point are not the same size of bad news.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.kpis import BY_NAME, ERROR_RATIO, Kpi

SMALLEST_MS_OR_MIB = 0.001
"""Values below (a microsecond) count as it, since a factor needs something to multiply."""

_TOO_FAR = 700.0  # its exponential is no float any more

RESOLUTION = 0.001
"""Histograms tell values apart to 0.1 %."""


@dataclass(frozen=True, slots=True)
class MinEffect:
    """A change that matters: ``amount`` is a share of the old value or, absolute, in its unit."""

    amount: float
    relative: bool

    def text(self, kpi: Kpi) -> str:
        """As it is written on the command line."""
        if self.relative:
            return f"{self.amount * 100:.12g} %"
        return f"{self.amount:.12g}" + ("" if kpi.unit == "ratio" else f" {kpi.unit}")


_FIVE_PER_CENT = MinEffect(0.05, relative=True)
DEFAULTS = dict.fromkeys(BY_NAME, _FIVE_PER_CENT) | {
    "cache_hit_ratio": MinEffect(0.005, relative=False),
    "error_ratio": MinEffect(0.001, relative=False),
}
"""5 % of a latency, of memory or CPU; half a percentage point of hits; one error in a thousand."""


_BUT_ERRORS = [name for name in BY_NAME if name != ERROR_RATIO.name]


def parse_min_effects(texts: Sequence[str]) -> dict[str, MinEffect]:
    """``kpi=5%`` or ``kpi=2`` (in its unit) each, or ``0.5%`` for all; later ones win.

    The error ratio keeps its own unless it is named: a share of no errors is nothing. Raises
    ``ValueError`` naming the text that is wrong.
    """
    found = dict(DEFAULTS)
    for text in texts:
        name, equals, amount = text.rpartition("=")
        if equals and name not in BY_NAME:
            raise ValueError(f"{text}: {name!r} is no KPI, expected one of {', '.join(BY_NAME)}")
        effect = _min_effect(amount, text)
        if not equals and not effect.relative:
            raise ValueError(f"{text}: an amount for all KPIs needs a % sign, their units differ")
        found |= dict.fromkeys([name] if equals else _BUT_ERRORS, effect)
    return found


def _min_effect(amount: str, text: str) -> MinEffect:
    relative = amount.endswith("%")
    try:
        number = float(amount.removesuffix("%")) / (100 if relative else 1)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"{text}: expected an amount of 0 or more, like 5% or 0.005")
    return MinEffect(number, relative)


def parse_limits(texts: Sequence[str]) -> dict[str, tuple[float, float | None]]:
    """``kpi=target`` or ``kpi=target:alert`` each: the limits to judge by, in the KPI's unit.

    Raises ``ValueError`` naming the text that is wrong.
    """
    found: dict[str, tuple[float, float | None]] = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        if name not in BY_NAME:
            raise ValueError(f"{text}: {name!r} is no KPI, expected one of {', '.join(BY_NAME)}")
        target, colon, alert = numbers.partition(":")
        try:
            pair = (float(target), float(alert) if colon else None)
        except ValueError:
            pair = (math.nan, None)
        if not all(0 <= limit < math.inf for limit in pair if limit is not None):
            raise ValueError(f"{text}: expected {name}=TARGET or {name}=TARGET:ALERT in its unit")
        found[name] = pair
    return found


def with_limits(
    limits: Mapping[str, tuple[float, float]], own: Mapping[str, tuple[float, float | None]]
) -> dict[str, tuple[float, float]]:
    """``limits`` with ``own`` in their place; an alert that is not given stays as it was, or is the
    target where there was none.

    Raises ``ValueError`` if an alert then lies on the good side of its target.
    """
    merged = dict(limits)
    for name, (target, alert) in own.items():
        if alert is None:
            alert = limits[name][1] if name in limits else target
        worse_last = (target, alert) if BY_NAME[name].better == "lower" else (alert, target)
        if worse_last[0] > worse_last[1]:
            raise ValueError(
                f"{name}={target:g}: the alert ({alert:g}) lies before the target; give both, "
                f"as {name}=TARGET:ALERT"
            )
        merged[name] = (target, alert)
    return merged


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale on which a KPI's changes add up: logarithms for factors, plain for ratios."""

    kpi: Kpi

    @property
    def by_factor(self) -> bool:
        return self.kpi.statistic != "ratio"

    def of(self, value: float) -> float:
        """A value on the scale."""
        return math.log(max(value, SMALLEST_MS_OR_MIB)) if self.by_factor else value

    def resolution(self, samples: int) -> float:
        """How finely values are told apart: by the histogram, or by one sample of a ratio."""
        return RESOLUTION if self.by_factor else 1 / max(samples, 1)

    def change(self, shift: float) -> float:
        """A shift on the scale as people say it: 0.05 for 5 % more, or a difference of ratios."""
        if not self.by_factor:
            return shift
        return math.expm1(shift) if shift < _TOO_FAR else math.inf

    def bounds(self, least: MinEffect, old: float) -> tuple[float, float]:
        """The shifts, down and up, from which on a change of the value ``old`` matters."""
        if not self.by_factor:
            amount = least.amount * old if least.relative else least.amount
            return (-amount, amount)
        share = least.amount if least.relative else least.amount / max(old, SMALLEST_MS_OR_MIB)
        return (math.log1p(-share) if share < 1 else -math.inf, math.log1p(share))

    def text(self, change: float) -> str:
        """A change with its sign, like ``+5.2 %`` or ``-0.0031``."""
        if math.isinf(change):
            return f"{change:+}"
        return f"{change * 100:+.2f} %" if self.by_factor else f"{change:+.4f}"


def interval_text(scale: Scale, ends: tuple[float, float]) -> str:
    """``[-1.20 %, +3.10 %]``, or nothing where the ends are not known."""
    if math.isinf(ends[0]):
        return ""
    return f"[{scale.text(ends[0])}, {scale.text(ends[1])}]"
