"""The gate's verdict in the terminal: a table a scenario and world, and what explains it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from reports import wording
from reports.changes import Change
from reports.gate import GateVerdict, GateWord, Judged
from reports.kpis import Kpi
from reports.markdown import change_text, closing
from reports.table import COLOURS, make_table, value_cell
from reports.verdict import KpiResult

_COLOURS: dict[GateWord, str] = {
    **dict(COLOURS.items()),
    "regressed": "bold red",
    "improved": "green",
    "unchanged": "green",
}


def print_gate(verdict: GateVerdict, console: Console) -> None:
    """Print both answers of every KPI, the notes and the bound on false alarms."""
    for judged in verdict.judged:
        console.print(f"{escape(judged.pool.name)}: {escape(judged.pool.describe())}")
        _print_pool(judged, console)
        console.print()
    for note in closing(verdict):
        console.print(escape(note))


def print_changes(changes: Sequence[Change], console: Console) -> None:
    """Print what has become of every KPI, without a verdict on limits."""
    table = make_table(console, "KPI", "before", "now", "change (95 %)", "least", "")
    for change in changes:
        now = wording.quantity(change.new, change.kpi.unit) if change.new is not None else "-"
        was, *rest = _change_cells(change)
        table.add_row(change.kpi.name, was, now, *rest)
    console.print(table)


def _print_pool(judged: Judged, console: Console) -> None:
    heads = ["KPI", "limit", "value", "limit met?"]
    heads += ["baseline", "change (95 %)", "least", "worse?"] if judged.changes else []
    table = make_table(console, *heads)
    for result, change in judged.rows():
        table.add_row(*_limit_cells(result), *(_change_cells(change) if change else ()))
    console.print(table)


def _limit_cells(result: KpiResult) -> tuple[str, ...]:
    kpi: Kpi = result.kpi
    aside = "" if result.counts else " (not required)"
    limit = wording.limit(kpi.meets, result.target, kpi.unit)
    return kpi.name, limit, value_cell(result), _word(result.verdict) + aside


def _change_cells(change: Change) -> tuple[str, ...]:
    was = wording.quantity(change.old, change.kpi.unit) if change.old is not None else "-"
    return was, escape(change_text(change)), change.min_effect or "-", _word(change.word)


def _word(word: GateWord) -> str:
    return f"[{_COLOURS[word]}]{word}[/]"
