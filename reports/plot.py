"""Percentile plots as inline SVG: how slow the slowest share of the requests is.

The x axis is logarithmic towards 100 % (each decade is one nine more), the y axis logarithmic in
milliseconds and the same in all panels, so that panels can be compared. Colours come from the
page's style sheet by class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from reports import wording
from reports.intervals import Sample
from reports.readings import US_PER_MS

WIDTH, HEIGHT = 340, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 76, 20, 38
_LABEL_GAP = 13
_NINES = 4.0  # the x axis ends at 99.99 %
_X_TICKS = (
    (0.0, "0"), (0.5, "50"), (0.9, "90"), (0.95, "95"), (0.99, "99"), (0.999, "99.9"),
    (0.9999, "99.99 %"),
)  # fmt: skip
_MARKED = (0.5, 0.95, 0.99)

Point = tuple[float, float]


class Line(NamedTuple):
    """One world's samples of the plotted series; ``kind`` is its label and its style class."""

    kind: str
    sample: Sample


class Panel(NamedTuple):
    """One series in all worlds, with the target of its P95 in ms."""

    title: str
    lines: Sequence[Line]
    target_ms: float


class Scale(NamedTuple):
    """The y axis: ends in ms and the values with a tick."""

    low: float
    high: float
    ticks: list[float]

    def y(self, ms: float) -> float:
        """The vertical place of a value, cut at the ends of the axis."""
        share = math.log(min(max(ms, self.low), self.high) / self.low)
        span = math.log(self.high / self.low)
        return HEIGHT - _BOTTOM - share / span * (HEIGHT - _TOP - _BOTTOM)


def points(sample: Sample) -> list[Point]:
    """(percentile, ms) of a series; failed samples are ranks above the last point."""
    if not sample.histogram.count:
        return []
    share = sample.histogram.count / sample.size
    found = [(p * share, value / US_PER_MS) for p, value in sample.histogram.curve()]
    if not sample.failed:  # 100 % has no place on this axis: the last rank is drawn at its middle
        found[-1] = (1 - 0.5 / sample.size, found[-1][1])
    return [(p, ms) for p, ms in found if p <= 1 - 10**-_NINES]


def shared_scale(panels: Sequence[Panel]) -> Scale:
    """One y axis for all panels, from 1-2-5 step to 1-2-5 step; ticks that do not crowd."""
    values = [ms for panel in panels for line in panel.lines for _, ms in points(line.sample)]
    values = [max(value, 0.01) for value in [*values, *(panel.target_ms for panel in panels)]]
    first, last = math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values)))
    steps = [lead * 10.0**power for power in range(first, last + 1) for lead in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    high = min(step for step in [*steps, 10.0 ** (last + 1)] if step >= max(values) * 1.1)
    ticks = [step for step in steps if low <= step <= high]
    if len(ticks) > 8:
        ticks = [tick for tick in ticks if math.log10(tick) % 1 == 0]
    return Scale(low, high, ticks)


def svg(panel: Panel, scale: Scale) -> str:
    """One panel as an SVG element that scales with its container."""
    drawn = [(line, points(line.sample)) for line in panel.lines]
    shown = [(line, path) for line, path in drawn if path]
    labels = _place_labels([(line, path[-1]) for line, path in shown], scale)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_summary(panel)}">',
        _grid(scale),
        _target(panel.target_ms, scale),
        *(_curve(line, path, scale) for line, path in shown),
        *(_text(f"label {line.kind}", x, y, line.kind, "start") for line, x, y in labels),
        "</svg>",
    ]
    return "\n".join(parts)


def _x(p: float) -> float:
    nines = min(-math.log10(1 - p), _NINES)
    return _LEFT + nines / _NINES * (WIDTH - _LEFT - _RIGHT)


def _summary(panel: Panel) -> str:
    values = [(line.kind, line.sample.percentile(0.95)) for line in panel.lines]
    said = [
        f"{kind} P95 {wording.quantity(us / US_PER_MS, 'ms')}" for kind, us in values if us
    ]  # a world without samples is not mentioned
    return escape(f"{panel.title}: {', '.join(said) or 'no samples'}")


def _grid(scale: Scale) -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text("tick", _LEFT - 6, y + 3.5, f"{tick:,.12g}", "end"))
    for p, label in _X_TICKS:
        x = _x(p)
        kind = "grid p95" if p == 0.95 else "grid"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(_text("tick", x, bottom + 15, label, "middle"))
    parts.append(_text("tick", _LEFT - 6, _TOP - 9, "ms", "end"))
    parts.append(_text("tick", (_LEFT + right) / 2, bottom + 31, "percentile", "middle"))
    return "\n".join(parts)


def _target(target_ms: float, scale: Scale) -> str:
    y = scale.y(target_ms)
    return f'<line class="target" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _curve(line: Line, path: Sequence[Point], scale: Scale) -> str:
    places = " ".join(f"{_x(p):.1f},{scale.y(ms):.1f}" for p, ms in path)
    marks = []
    for p in _MARKED:
        value = line.sample.percentile(p)
        if value is not None and p <= path[-1][0]:
            ms = value / US_PER_MS
            title = escape(f"{line.kind}: P{p * 100:g} {wording.quantity(ms, 'ms')}")
            place = f'cx="{_x(p):.1f}" cy="{scale.y(ms):.1f}" r="3"'
            marks.append(f"<circle {place}><title>{title}</title></circle>")
    return f'<g class="{escape(line.kind)}"><polyline points="{places}"/>{"".join(marks)}</g>'


def _place_labels(
    ends: Sequence[tuple[Line, Point]], scale: Scale
) -> list[tuple[Line, float, float]]:
    """Where each line's name goes: at its end, moved down where two would overlap."""
    placed: list[tuple[Line, float, float]] = []
    lowest = -math.inf
    for line, (p, ms) in sorted(ends, key=lambda end: -end[1][1]):
        lowest = max(scale.y(ms) + 3.5, lowest + _LABEL_GAP)
        placed.append((line, _x(p) + 6, lowest))
    return placed


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{escape(kind)}" {place}>{escape(text)}</text>'
