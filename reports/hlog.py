"""Interval logs of histograms (``.hlog``), as the tools of HdrHistogram read and write them.

The format is that of Java's ``HistogramLogWriter``, version 1.3: comments with ``#``, one legend,
then a line an interval: ``Tag=t,`` (optional), start and length in seconds, the largest value, and
the V2 blob. Times are counted from ``BaseTime``. The Python port's own writer cannot be used: it
drops tags, and its start time raises an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from reference_impl.profiling.hdr import Histogram

LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'

_LINE = re.compile(r"(?:Tag=([^, \r\n]+),)?(\d+\.\d+),(\d+\.\d+),(\d+\.\d+),([A-Za-z0-9+/=]+)")


class HistogramLog:
    """One log being written; each interval is in the file before the next one begins.

    Raises:
        OSError: when it cannot be written.
    """

    def __init__(self, path: Path, started_us: int) -> None:
        """``started_us`` is the instant, in microseconds since 1970, that intervals count from."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: TextIO = path.open("w", encoding="ascii", newline="\n")
        started = started_us / 1e6
        instant = datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds")
        self._file.write(
            "#[Histogram log format version 1.3]\n"
            "#[Values in microseconds, Interval_Max in milliseconds]\n"
            f"#[StartTime: {started:.3f} (seconds since epoch), {instant}]\n"
            f"#[BaseTime: {started:.3f} (seconds since epoch)]\n"
            f"{LEGEND}\n"
        )
        self._file.flush()

    def interval(self, start_us: int, end_us: int, values: Mapping[str, Sequence[int]]) -> None:
        """Write what was seen between two instants: for each tag its values in microseconds.

        A tag without values has no line.
        """
        for tag, values_us in values.items():
            if not values_us:
                continue
            histogram = Histogram()
            histogram.record_many(values_us)
            largest = (histogram.max_us or 0) / 1000
            self._file.write(
                f"Tag={tag},{start_us / 1e6:.3f},{(end_us - start_us) / 1e6:.3f},{largest:.3f},"
                f"{histogram.v2()}\n"
            )
        self._file.flush()

    def close(self) -> None:
        """Close the file. May be called again."""
        self._file.close()


def read(path: Path) -> dict[str, Histogram]:
    """All intervals of a log added up, by tag ("" for lines without one).

    Raises:
        ValueError: naming file and line, for what is no line of such a log.
        OSError: when the file cannot be read.
    """
    found: dict[str, Histogram] = {}
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        if not line or line.startswith(("#", '"StartTimestamp"')):
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"{path}:{number}: no interval of a histogram log")
        try:
            histogram = Histogram.from_v2(parts[5])
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
        found.setdefault(parts[1] or "", Histogram()).add(histogram)
    return found
