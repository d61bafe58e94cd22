"""Interval logs: read by an independent reader, by hdrh where it can, and by our own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.profiling.hdr import TOP_US, Histogram
from reports import hlog
from tests.oracles.interval_log import counts_of, intervals

STARTED_US = 1_767_225_600_250_000


def written(folder: Path, *lines: dict[str, list[int]]) -> Path:
    """A log with an interval of 5 s for each of ``lines``."""
    log = hlog.HistogramLog(folder / "a" / "latency.hlog", STARTED_US)
    for number, values in enumerate(lines):
        log.interval(5_000_000 * number, 5_000_000 * (number + 1), values)
    log.close()
    return log.path


def test_an_independent_reader_finds_what_was_written(tmp_path: Path) -> None:
    """Tags, times, largest values, and every count at its value."""
    path = written(tmp_path, {"x": [1, 2, 2, 1_999], "y": [2_000_000]}, {"x": [3_000], "y": []})
    first, second, third = intervals(path.read_text())
    assert first[:4] == ("x", 0.0, 5.0, 1.999)
    assert first.counts == {1: 1, 2: 2, 1_999: 1}
    assert second[:4] == ("y", 0.0, 5.0, 2_000.0)
    assert [value * 0.999 < 2_000_000 <= value * 1.001 for value in second.counts] == [True]
    assert third[:4] == ("x", 5.0, 5.0, 3.0)


def test_the_head_is_that_of_the_format(tmp_path: Path) -> None:
    """Version, start and base in seconds since 1970, and the legend that tools look for."""
    head = written(tmp_path).read_text()
    assert head.startswith("#[Histogram log format version 1.3]\n")
    assert "#[StartTime: 1767225600.250 (seconds since epoch), 2026-01-01T00:00:00.250" in head
    assert "#[BaseTime: 1767225600.250 (seconds since epoch)]" in head
    assert head.endswith(
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def test_hdrh_reads_it(tmp_path: Path) -> None:
    """The Python port's reader adds all intervals of a file up."""
    path = written(tmp_path, {"x": [10, 20]}, {"x": [30]})
    untagged = path.with_name("untagged.hlog")
    untagged.write_text(re.sub("^Tag=x,", "", path.read_text(), flags=re.M))
    target = HdrHistogram(1, TOP_US, 3)
    reader = HistogramLogReader(str(untagged), HdrHistogram(1, TOP_US, 3))
    while reader.add_next_interval_histogram(target):
        pass
    reader.close()
    assert target.get_total_count() == 3
    assert target.get_max_value() == 30


@given(st.lists(st.integers(0, TOP_US), min_size=1, max_size=30))
def test_a_blob_read_back_has_the_same_percentiles(values: list[int]) -> None:
    """Count, counters and every rank; the minimum to its counter's width."""
    histogram = Histogram()
    histogram.record_many(values)
    again = Histogram.from_v2(histogram.v2())
    assert again.count == histogram.count
    assert again.v2() == histogram.v2()
    assert sum(counts_of(histogram.v2()).values()) == len(values)
    for p in (0.5, 0.95, 1.0):
        assert again.percentile(p) == pytest.approx(histogram.percentile(p), rel=1e-3, abs=1)
    assert Histogram.from_json(again.to_json()) == again


def test_reading_adds_the_intervals_up(tmp_path: Path) -> None:
    """By tag; a log without intervals is empty."""
    path = written(tmp_path, {"x": [10, 20], "y": [5]}, {"x": [30]})
    assert {tag: histogram.count for tag, histogram in hlog.read(path).items()} == {"x": 3, "y": 1}
    assert hlog.read(written(tmp_path / "empty")) == {}


@pytest.mark.parametrize("line", ["1.0,5.0,1.0,HISTnothing", "no line", "1.0,5.0,HISTFAAA"])
def test_damage_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    """File and number, and no traceback of the decoder's."""
    path = written(tmp_path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"latency\.hlog:6: "):
        hlog.read(path)
