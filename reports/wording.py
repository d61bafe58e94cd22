"""How numbers are put into words, the same in the terminal, the page and the last line."""

from __future__ import annotations

import math

from reports.kpis import Kpi

NONE = "none"


def number(value: float | None, unit: str) -> str:
    """A value to three digits (a ratio to four decimals), without its unit.

    ``None`` is a percentile that was lost to failures.
    """
    if value is None:
        return NONE
    if math.isinf(value):
        return "inf"
    if unit == "ratio":
        return f"{value:.4f}" if value >= 0.01 else f"{value:.2g}"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit; a ratio has none."""
    text = number(value, unit)
    return text if unit == "ratio" or value is None else f"{text} {unit}"


def interval(bounds: tuple[float, float] | None, unit: str) -> str:
    """``[low, high]``, or nothing where there is no interval."""
    return f"[{number(bounds[0], unit)}, {number(bounds[1], unit)}]" if bounds else ""


def limit(comparison: str, value: float, unit: str) -> str:
    """A limit as the contract writes it, for example ``< 50 ms``."""
    text = f"{comparison} {value:.12g}"
    return text if unit == "ratio" else f"{text} {unit}"


def statistic(kpi: Kpi) -> str:
    """What the value is of its samples: "P95", "maximum" or "ratio"."""
    return f"P{kpi.p * 100:g}" if kpi.statistic == "percentile" else kpi.statistic


def share(part: float, digits: int = 1) -> str:
    """A share of 1 in per cent."""
    return f"{part * 100:.{digits}f} %"
