"""The list of all requests: sent in pieces, written as CSV, and searched for the worst minute."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest._rows import MINUTE_US, Row, Rows, WorstMinute
from reports.record import Window
from reports.samples import FAILED

ROW = st.builds(
    Row,
    st.integers(0, 10**9),
    st.integers(-(10**6), 10**12),
    st.integers(-(10**6), 10**12),
    st.integers(-(10**6), 10**12),
    st.sampled_from([0, 200, 503]),
    st.sampled_from(["tracking", "attribution"]),
    st.sampled_from(["", "timeout", "status 503"]),
    st.sampled_from(["", "L", "LM"]),
)


def rows(*of: Row) -> Rows:
    made = Rows()
    for row in of:
        made.add(row)
    return made


@given(st.lists(ROW, max_size=20), st.integers(1, 7))
def test_pieces_put_together_are_the_whole(of: list[Row], size: int) -> None:
    """However they are cut; a piece that comes twice, or after a gap, changes nothing."""
    whole, copy = rows(*of), Rows()
    for start in range(0, len(whole), size):
        piece = whole.pack(start, start + size)
        copy.unpack(piece)
        copy.unpack(piece)
        copy.unpack({**piece, "from": len(copy) + 1})
    assert list(copy) == list(whole) == of


def test_the_csv_holds_every_request_by_number(tmp_path: Path) -> None:
    """One line each under a legend, whatever the order in which they ended."""
    path = tmp_path / "folder" / "raw.csv"
    rows(
        Row(7, 10, 11, 30, 200, "tracking", "", ""),
        Row(2, 5, 6, 900, 0, "attribution", "timeout", "LM"),
    ).write_csv(path)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            list(Row._fields),
            ["2", "5", "6", "900", "0", "attribution", "timeout", "LM"],
            ["7", "10", "11", "30", "200", "tracking", "", ""],
        ]
    assert [file.name for file in path.parent.iterdir()] == ["raw.csv"]


def test_samples_count_from_the_intended_start() -> None:
    """A failed request has no latency."""
    table = rows(
        Row(1, 10, 15, 30, 200, "tracking", "", "L"), Row(0, 5, 6, 9, 0, "tracking", "timeout", "")
    ).samples()
    assert table.table().latency_us.tolist() == [FAILED, 20]


def minute_of(latencies_us: list[int], start_us: int, failure: str = "") -> list[Row]:
    return [
        Row(i, start_us + i, 0, start_us + i + us, 200, "tracking", failure, "")
        for i, us in enumerate(latencies_us)
    ]


def test_the_worst_minute_is_found() -> None:
    """Of three minutes the second; what came before the window does not count."""
    window = Window(MINUTE_US, 4 * MINUTE_US)
    found = rows(
        *minute_of([9_000] * 100, 0),
        *minute_of([10] * 100, MINUTE_US),
        *minute_of([10] * 94 + [700] * 6, 2 * MINUTE_US),
        *minute_of([10] * 95 + [800] * 5, 3 * MINUTE_US),
    ).worst_minutes(window)
    assert found == {"tracking": WorstMinute(2 * MINUTE_US, 700)}


def test_a_minute_of_failures_is_worse_than_any() -> None:
    """It has no P95 then."""
    found = rows(
        *minute_of([9_000] * 100, 0), *minute_of([10] * 10, MINUTE_US, "timeout")
    ).worst_minutes(Window(0, 2 * MINUTE_US))
    assert found == {"tracking": WorstMinute(MINUTE_US, None)}


@pytest.mark.parametrize(("window_s", "start_s"), [(30, 0), (89, 0), (91, 60)])
def test_a_rest_under_half_a_minute_is_no_minute(window_s: int, start_s: int) -> None:
    """The window's last samples are the slow ones; whose minute they make depends on the rest."""
    last = minute_of([9_000] * 20, (window_s - 1) * 1_000_000)
    made = rows(*minute_of([10] * 10, 0), *last)
    found = made.worst_minutes(Window(0, window_s * 1_000_000))
    assert found == {"tracking": WorstMinute(start_s * 1_000_000, 9_000)}


def test_nothing_has_no_worst_minute() -> None:
    """A run without requests can still be written down."""
    assert Rows().worst_minutes(Window(0, 10)) == {}
