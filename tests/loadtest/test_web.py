"""The rows of our tab in Locust's web UI; a live test looks at the tab itself."""

from __future__ import annotations

from loadtest._web import COLUMNS, rows_of
from reference_impl.profiling.hdr import Histogram
from reports.record import Unit


def unit_of(*latencies_us: int, failed: int = 0) -> Unit:
    histogram = Histogram()
    histogram.record_many(list(latencies_us))
    series = "latency.tracking.intended"
    return Unit({series: histogram}, {series: failed} if failed else {})


def test_blocks_are_merged_and_told_to_three_digits() -> None:
    """99.5 and 105 ms stay apart, as Locust's own rounding would not have them."""
    (row,) = rows_of([unit_of(*[99_500] * 95), unit_of(*[105_000] * 5, failed=2)])
    assert row.keys() == COLUMNS.keys()
    assert (row["name"], row["requests"], row["failed"]) == ("tracking", 102, 2)
    assert abs(row["p50"] - 99.5) < 0.1
    assert abs(row["p99"] - 105) < 0.11


def test_what_was_not_asked_has_no_row() -> None:
    """Before the first request the table is empty."""
    assert rows_of([]) == rows_of([Unit()]) == []
