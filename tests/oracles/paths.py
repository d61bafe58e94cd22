"""The public paths, read plainly."""

from __future__ import annotations

import csv
import gzip
import io
from functools import cache
from importlib import resources

PublicPath = tuple[list[str], int, int]
"""Channels oldest first, journeys along them that converted, and that did not."""


@cache
def public_paths() -> list[PublicPath]:
    """All 10,000 paths in the order of the file."""
    file = resources.files("scenarios") / "data" / "journeys.csv.gz"
    text = gzip.decompress(file.read_bytes()).decode("utf-8")
    return [
        (row["path"].split(" > "), int(row["total_conversions"]), int(row["total_null"]))
        for row in csv.DictReader(io.StringIO(text))
    ]
