"""The gate's verdict as Markdown, as a step summary or a comment shows it.

A change is drawn as a bar: ``o`` is the estimate, ``=`` its 95 % interval, ``|`` no change, and
``:`` the least change that matters, either way. Dots keep its width, where spaces would be folded.
"""

from __future__ import annotations

import math
import re

from reports import wording
from reports.changes import Change
from reports.effects import Scale, interval_text
from reports.gate import GateVerdict, GateWord, Judged, weight
from reports.verdict import KpiResult

SIGNS: dict[GateWord, str] = {
    "pass": "✅",
    "improved": "✅",
    "unchanged": "✅",
    "inconclusive": "❔",
    "no-data": "❔",
    "missed": "❌",
    "alert": "❌",
    "regressed": "❌",
    "not valid": "⛔",
    "wrong input": "⛔",
}

_HALF_WIDTH = 12  # characters from no change to twice the least change that matters
_HEAD = """\
| KPI | limit | value | limit met? | baseline | change | | worse? |
|---|---|---|---|---|---|---|---|"""


def markdown(verdict: GateVerdict) -> str:
    """The whole text; equal verdicts give equal text."""
    parts = [
        f"## {SIGNS[verdict.word]} edgekpi gate: {verdict.word}",
        _escape(verdict.last_line),
        *(_pool(judged) for judged in verdict.judged),
        _reasons(verdict),
        "\n".join(f"- {_escape(note)}" for note in closing(verdict)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def closing(verdict: GateVerdict) -> list[str]:
    """The notes; and how often a build without a change is stopped all the same, at most."""
    if not verdict.comparisons:
        return list(verdict.notes)
    share = f"{verdict.rules.alpha * 100:.3g} %"
    bound = (
        f"false alarms: in at most {share} of the builds in which nothing has changed "
        f"(Holm over {verdict.comparisons} comparisons)"
    )
    return [*verdict.notes, bound]


def bar(change: Change) -> str:
    """The interval of a change between twice the least change that matters, either way."""
    least = change.least
    if change.change is None or change.interval is None or not least:
        return ""
    step = 2 * least / _HALF_WIDTH
    cells = ["."] * (2 * _HALF_WIDTH + 1)

    def place(value: float) -> int:
        steps = value / step if math.isfinite(value) else math.copysign(_HALF_WIDTH, value)
        return _HALF_WIDTH + round(min(max(steps, -_HALF_WIDTH), _HALF_WIDTH))

    for mark in (-least, least):
        cells[place(mark)] = ":"
    low, high = map(place, change.interval)
    cells[low : high + 1] = "=" * (high - low + 1)
    cells[_HALF_WIDTH] = "|"
    cells[place(change.change)] = "o"
    return "".join(cells)


def _pool(judged: Judged) -> str:
    name = f"### {_escape(judged.pool.name)}: {_escape(judged.pool.describe())}"
    return "\n".join([f"{name}\n", _HEAD, *(_row(*row) for row in judged.rows())])


def _row(result: KpiResult, change: Change | None) -> str:
    kpi = result.kpi
    value = wording.quantity(result.value, kpi.unit) if result.samples else "-"
    bounds = wording.interval(result.interval, kpi.unit)
    cells = [
        f"`{kpi.name}`" + ("" if result.counts else " (not required)"),
        wording.limit(kpi.meets, result.target, kpi.unit),
        f"{value} {bounds}".rstrip(),
        f"{SIGNS[result.verdict]} {result.verdict}",
    ]
    if change is None:
        cells += ["", "", "", ""]
    else:
        drawn = bar(change)
        cells += [
            wording.quantity(change.old, kpi.unit) if change.old is not None else "-",
            change_text(change),
            f"`{drawn}`" if drawn else "",
            f"{SIGNS[change.word]} {change.word}",
        ]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def change_text(change: Change) -> str:
    """The change with its 95 % interval, or ``=`` where every sample is equal."""
    if change.change is None or change.interval is None:
        return "-"
    if change.proven:
        return "= (every sample)"
    scale = Scale(change.kpi)
    return f"{scale.text(change.change)} {interval_text(scale, change.interval)}".rstrip()


def _reasons(verdict: GateVerdict) -> str:
    """A sentence for everything that is not good, those that decide first."""
    lines = [
        f"- {SIGNS[change.word]} `{result.name}` {_escape(change.text)}"
        for judged in verdict.judged
        for result, change in judged.rows()
        if change is not None
        and change.counts
        and weight(change.word, verdict.rules) not in ("pass", "improved", "unchanged")
    ]
    return "\n".join(dict.fromkeys(lines))


def _cell(text: str) -> str:
    """A table's cell: a vertical bar would end it, also in code."""
    return text.replace("|", "\\|")


def _escape(text: str) -> str:
    """Text from a scenario or a server says nothing in Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", text.replace("\n", " "))
