"""The small gauge in a KPI's cell: value and interval against target and alert, on a line."""

from __future__ import annotations

import math

from reports.verdict import KpiResult

_WIDTH, _MIDDLE, _MARGIN = 150, 7, 5


def svg(result: KpiResult) -> str:
    """An inline SVG, or nothing where there is no value. Its colour is that of the verdict."""
    if result.value is None:
        return ""
    low, high = _ends(result)

    def x(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return _MARGIN + share * (_WIDTH - 2 * _MARGIN)

    bounds = result.interval or (result.value, result.value)
    ticks = "".join(_line("limit", x(at), x(at), 2, 12) for at in (result.target, result.alert))
    return (
        f'<svg class="gauge" viewBox="0 0 {_WIDTH} 14" aria-hidden="true">'
        f"{_line('track', _MARGIN, _WIDTH - _MARGIN, _MIDDLE, _MIDDLE)}{ticks}"
        f"{_line('bar', x(bounds[0]), x(bounds[1]), _MIDDLE, _MIDDLE)}"
        f'<circle cx="{x(result.value):.1f}" cy="{_MIDDLE}" r="3.5"/></svg>'
    )


def _ends(result: KpiResult) -> tuple[float, float]:
    """From 0 to a little beyond alert or value; a ratio that is to be high: from below to 1."""
    assert result.value is not None
    seen = [result.value, *(end for end in result.interval or () if not math.isinf(end))]
    if result.kpi.better == "higher":
        span = max(1 - min(*seen, result.alert, result.target), 0.01)
        return max(1 - 1.5 * span, 0.0), 1.0
    return 0.0, 1.1 * max(*seen, result.alert, result.target)


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1}" y2="{y2}"/>'
