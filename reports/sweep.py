"""One scenario under several values of one setting: a line a value, all under the same seeds.

The same requests come at the same moments and meet the same delays under each value, so the lines
differ by the setting and not by chance. How the first line differs from each other one is told by
Student's t over the replications' own differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape

from reference_impl.messages import Layer
from reports import details, wording
from reports.intervals import student_half_width
from reports.kpis import STALENESS
from reports.record import RunRecord
from reports.table import COLOURS, make_table
from reports.verdict import KpiResult, Verdict

SHOWN = ("cache_hit_ratio", "tracking_latency_p95", "attribution_latency_p95", "d1_query_p95")
COUNTS = {
    "RYW": "kv.own_writes_unseen",
    "D1 reads": "d1.reads",
    "KV writes": "kv.writes",
}
"""Columns that show a count of the whole run, warm-up included, and the count they show."""

LEGEND = """
change: of the hit ratio against the first line, paired, and half its 95 % interval; tracking,
attribution, D1: P95; stale: how old stale answers were, P99; RYW: reads that did not see a write of
their own node. Counts are of all replications, warm-up included."""

LIFETIMES = ("ttl", "life")


class Line(NamedTuple):
    """The setting's value as it was given, and the run under it."""

    value: str
    record: RunRecord
    verdict: Verdict

    def result(self, name: str) -> KpiResult:
        """The judgement of one KPI."""
        return next(result for result in self.verdict.kpis if result.name == name)

    def from_l1(self) -> float | None:
        """The share of the KPI's look-ups that L1 answered."""
        rows = [r for r in details.lookups(self.record) if r.cache_type in self.record.cache_types]
        total = sum(row.total for row in rows)
        return sum(row.by_layer[Layer.L1] for row in rows) / total if total else None

    def to_json(self, path: str, first: Line) -> dict[str, Any]:
        """As the command line's ``--json`` has it."""
        change = hit_ratio_change(first, self)
        return {
            "path": path,
            "value": self.value,
            **{name: self.result(name).to_json()["value"] for name in SHOWN},
            "l1_share": self.from_l1(),
            "hit_ratio_change": change and [round(number, 6) for number in change],
            STALENESS.name: details.stale_age_s(self.record),
            **{name: count_of(self.record, name) for name in COUNTS.values()},
            "verdict": self.verdict.to_json(),
        }


def count_of(record: RunRecord, name: str) -> int | None:
    """A count over all replications; ``None`` where nothing counted it."""
    return record.count(name) if any(name in unit.counts for unit in record.units) else None


def hit_ratio_change(first: Line, line: Line) -> tuple[float, float] | None:
    """By how much the hit ratio differs from the first line's, and half the 95 % interval of that,
    from the differences of the replications; ``None`` with fewer than two of them."""
    pairs = list(zip(_hit_ratios(line.record), _hit_ratios(first.record), strict=True))
    changes = [own - other for own, other in pairs if own is not None and other is not None]
    if line is first or len(changes) < 2:
        return None
    return math.fsum(changes) / len(changes), student_half_width(changes)


def _hit_ratios(record: RunRecord) -> list[float | None]:
    counts = [unit.counts for unit in record.units]
    return [
        count.get("cache.part", 0) / count["cache.total"] if count.get("cache.total") else None
        for count in counts
    ]


def warnings(path: str, limits: Sequence[str]) -> list[str]:
    """What a reader of the lines should know: a longer life costs nothing without a limit."""
    if STALENESS.name in limits or not any(word in path for word in LIFETIMES):
        return []
    return [
        f"{path} is a lifetime and no limit is set on {STALENESS.name}: the longer one then always"
        f" wins; say how old an answer may be with kpis.limits.{STALENESS.name}"
    ]


def print_lines(path: str, lines: Sequence[Line], console: Console) -> None:
    """The table, a line a value."""
    numbers = [
        "hit ratio",
        "change, +-",
        "from L1",
        "tracking",
        "attribution",
        "D1",
        "stale",
        *COUNTS,
    ]
    table = make_table(console, path, *numbers, "verdict", right=numbers)
    for line in lines:
        counted = [count_of(line.record, name) for name in COUNTS.values()]
        word = line.verdict.word
        table.add_row(
            escape(line.value),
            *(_kpi(line.result(SHOWN[0])), _change(hit_ratio_change(lines[0], line))),
            "-" if (share := line.from_l1()) is None else wording.number(share, "ratio"),
            *(_kpi(line.result(name)) for name in SHOWN[1:]),
            details.stale_age(line.record),
            *("-" if count is None else f"{count:,}" for count in counted),
            f"[{COLOURS[word]}]{word}[/]",
        )
    console.print(table)
    console.print(LEGEND)


def _kpi(result: KpiResult) -> str:
    return "-" if result.verdict == "no-data" else wording.quantity(result.value, result.unit)


def _change(change: tuple[float, float] | None) -> str:
    return "" if change is None else f"{change[0]:+.4f} {change[1]:.4f}"


def last_line(lines: Sequence[Line]) -> str:
    """Which values meet the targets."""
    good = [line.value for line in lines if line.verdict.word == "pass"]
    met = f": {', '.join(good)}" if good else ""
    return f"{len(good)} of {len(lines)} values meet the targets{met}"
