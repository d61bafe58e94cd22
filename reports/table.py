"""The answer in the terminal: one table of KPIs, and beneath it what explains them.

Colour and drawn lines only on a terminal; plain ASCII everywhere else, so that a log reads well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, Literal

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reference_impl.messages import Layer
from reports import details, wording
from reports.record import RunRecord
from reports.verdict import KpiResult, Verdict, Word

Run = tuple[RunRecord, Verdict]

_PLAIN = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_PLAIN_WIDTH = 140  # a log has no width; wide enough for two runs side by side

COLOURS: dict[Word, str] = {
    "pass": "green",
    "missed": "yellow",
    "alert": "bold red",
    "inconclusive": "cyan",
    "no-data": "cyan",
    "not valid": "bold red",
    "wrong input": "bold red",
}


def make_console(file: IO[str]) -> Console:
    """A console for ``file``: coloured on a terminal, plain and wide anywhere else."""
    width = None if file.isatty() else _PLAIN_WIDTH
    return Console(file=file, width=width, highlight=False)


def print_runs(runs: Sequence[Run], console: Console) -> None:
    """Print one run, or the simulated and the emulated one side by side."""
    records = [record for record, _ in runs]
    console.print(_kpi_table(runs, console))
    console.print()
    if any(details.lookups(record) for record in records):
        console.print(_lookup_table(records, console))
        console.print()
    console.print(_detail_table(records, console))
    for record in records:
        for note in [*record.invalid, *record.notes]:
            # Not cut into lines: a note may hold a statement that is to be copied.
            console.print(f"{record.kind}: {escape(note)}", soft_wrap=True)


def make_table(console: Console, *columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table; the columns named in ``right`` hold numbers."""
    table = Table(
        box=SIMPLE_HEAD if console.is_terminal else _PLAIN,
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold")
    return table


def _kpi_table(runs: Sequence[Run], console: Console) -> Table:
    worlds = [column for record, _ in runs for column in (record.kind, "verdict")]
    table = make_table(console, "KPI", "target", "alert", *worlds)
    for results in zip(*(verdict.kpis for _, verdict in runs), strict=True):
        kpi, first = results[0].kpi, results[0]
        cells = [cell for result in results for cell in (value_cell(result), _word(result))]
        target = wording.limit(kpi.meets, first.target, kpi.unit)
        table.add_row(
            kpi.name, target, wording.limit(kpi.beyond, first.alert, kpi.unit), *map(str, cells)
        )
    return table


def value_cell(result: KpiResult) -> str:
    """The value with its interval, or how it is said where there is none."""
    if result.verdict == "no-data":
        return "-"
    value = wording.quantity(result.value, result.unit)
    if result.basis == "input":
        return f"{value} as assumed"
    seen_from = f" as seen from {result.seen_from}" if result.seen_from else ""
    interval = wording.interval(result.interval, result.unit)
    return escape(f"{value} {interval}".rstrip() + seen_from)


def _word(result: KpiResult) -> str:
    colour = COLOURS[result.verdict]
    aside = "" if result.counts else " (not required)"
    return f"[{colour}]{result.verdict}[/]{aside}"


def _lookup_table(records: Sequence[RunRecord], console: Console) -> Table:
    numbers = ["look-ups", "hit ratio", *Layer]
    table = make_table(console, "cache type", "world", *numbers, right=numbers)
    for record in records:
        for row in details.lookups(record):
            shares = [wording.number(row.by_layer[layer] / row.total, "ratio") for layer in Layer]
            ratio = wording.number(row.ratio, "ratio")
            table.add_row(escape(row.title), record.kind, f"{row.total:,}", ratio, *shares)
    return table


def _detail_table(records: Sequence[RunRecord], console: Console) -> Table:
    kinds = [record.kind for record in records]
    table = make_table(console, "beside the KPIs (times are P95)", *kinds, right=kinds)
    for title, series in details.TIMINGS:
        cells = [_timing(details.timing(record, title, series)) for record in records]
        if any(cell != "-" for cell in cells):
            table.add_row(title, *cells)
    for title, cells in details.worst_minutes(records):
        table.add_row(title, *(cell or "-" for cell in cells))
    _add_counts(table, records)
    return table


def _add_counts(table: Table, records: Sequence[RunRecord]) -> None:
    """The rows that are no percentile: process memory, requests, failures by reason."""
    for row in details.load_rows(records):
        table.add_row(*row)
    memory = [details.process_memory_mib(record) for record in records]
    if any(value is not None for value in memory):
        cells = ["-" if value is None else wording.quantity(value, "MiB") for value in memory]
        table.add_row("Memory of the server's Python process", *cells)
    for title, texts in details.happened(records):
        table.add_row(title, *texts)
    table.add_row("Requests", *(f"{record.count('errors.total'):,}" for record in records))
    failed = [details.failures(record) for record in records]
    for reason in sorted({reason for reasons in failed for reason in reasons}):
        table.add_row(
            escape(f"Failed: {reason}"), *(f"{reasons.get(reason, 0):,}" for reasons in failed)
        )


def _timing(timing: details.Timing) -> str:
    return wording.quantity(timing.p95_ms, "ms") if timing.samples else "-"


def print_agreement(found: Mapping[str, Any], console: Console) -> None:
    """How far both worlds agree, over the requests that both answered, a line a route."""
    if not found["requests"]:
        console.print("No request was answered in both worlds: nothing to compare.")
        return
    console.print(
        f"Same request, both worlds: {found['requests']:,} pairs, "
        f"{found['same_layers']:.2%} answered by the same layers"
    )
    for route, row in found["routes"].items():
        p50, p95 = (
            f"{name.upper()} {row[f'simulated_{name}_us'] / 1000:.1f} and "
            f"{row[f'emulated_{name}_us'] / 1000:.1f} ms"
            for name in ("p50", "p95")
        )
        console.print(f"  {route}: {p50}, {p95} (simulated and emulated)")
