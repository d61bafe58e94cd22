"""What the terminal shows."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from reports.details import PROCESS_MEMORY
from reports.record import RunRecord
from reports.table import make_console, print_runs
from reports.verdict import judge

MakeRecord = Callable[..., RunRecord]


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(*records: RunRecord, file: io.StringIO | None = None) -> str:
    file = file or io.StringIO()
    print_runs([(record, judge(record)) for record in records], make_console(file))
    return file.getvalue()


def row(text: str, start: str) -> str:
    """The words of the line that starts so, single-spaced."""
    (line,) = [line for line in text.splitlines() if line.lstrip().startswith(start)]
    return " ".join(line.split())


def test_without_a_terminal_it_is_plain_ascii(make_record: MakeRecord) -> None:
    """No colour codes, no drawn lines: a build's log reads well."""
    text = printed(make_record(), make_record("emulated"))
    assert text.isascii()
    assert "\x1b" not in text


def test_a_terminal_gets_colour(make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words, with colour codes."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mpass" in printed(make_record(), file=Terminal())


def test_each_kpi_has_a_row_with_both_worlds(make_record: MakeRecord) -> None:
    """Name, limits, value with interval and verdict of each; an input says so."""
    text = printed(make_record(), make_record("emulated", factor=1.9))
    assert re.fullmatch(
        r"tracking_latency_p95 < 100 ms > 200 ms 66\.2 ms \[.*\] pass 126 ms \[.*\] missed",
        row(text, "tracking_latency_p95"),
    )
    assert "ms as assumed pass" in row(text, "worker_cpu_p95")
    assert row(text, "cache_hit_ratio").startswith("cache_hit_ratio >= 0.95 < 0.85 0.9900 [")


def test_what_is_not_measured_or_not_required_says_so(make_record: MakeRecord) -> None:
    """A dash and no-data; "not required" where it does not count."""
    record = make_record(units=1)
    del record.units[0].series["cpu"]
    record.required.remove("worker_cpu_p95")
    assert row(printed(record), "worker_cpu_p95").endswith("> 150 ms - no-data (not required)")


def test_detail_rows_stand_beneath(make_record: MakeRecord) -> None:
    """Look-ups by type, parts of D1, accepted to stored, the process, failures, notes."""
    record = make_record(samples=100, units=1)
    record.units[0].counts["failure.status 500"] = 3
    record.provenance[PROCESS_MEMORY] = 50 * 2**20
    record.notes = ["[bold]a note[/bold]"]
    text = printed(record)
    assert row(text, "attribution ") == (
        "attribution simulated 200 0.9900 0.5000 0.4900 0.0100 0 0"
    )
    assert row(text, "Queue, accepted to stored").endswith(" ms")
    assert row(text, "D1 query, SQL only").endswith(" ms")
    assert row(text, "D1 query of the queue's consumer").endswith(" ms")
    assert row(text, "Memory of the server's Python process").endswith("50.0 MiB")
    assert row(text, "Failed: status 500").endswith(" 3")
    assert "simulated: [bold]a note[/bold]" in text


def test_an_empty_run_can_be_printed(make_record: MakeRecord) -> None:
    """No units at all: every KPI no-data, no crash."""
    record = make_record(units=0)
    text = printed(record)
    assert text.count("no-data") == 8
    assert "cache type" not in text


def test_one_city_stands_on_every_row(make_record: MakeRecord) -> None:
    """A P95 from one place is no P95 of the world."""
    record = make_record("live")
    record.units[0].counts["city.FRA"] = 7
    text = printed(record)
    for name in ("tracking_latency_p95", "cache_hit_ratio", "worker_memory_max", "error_ratio"):
        assert "as seen from FRA pass" in row(text, name)


def test_a_note_is_one_line(make_record: MakeRecord) -> None:
    """However long: it may hold a statement that is to be copied."""
    record = make_record("live")
    record.notes = ["DELETE " * 60]
    assert row(printed(record), "live: DELETE").count("DELETE") == 60
