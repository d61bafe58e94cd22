"""What several generators counted of the same block, as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from reference_impl.profiling.hdr import Histogram
from reports.record import Unit

T = TypeVar("T")


def merge(units: Iterable[Unit]) -> Unit:
    """One unit with the samples and counts of all ``units``; memory is the largest."""
    series: dict[str, Histogram] = {}
    failed: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    memory: list[int] = []
    for unit in units:
        for name, histogram in unit.series.items():
            series.setdefault(name, Histogram()).add(histogram)
        failed.update(unit.failed)
        counts.update(unit.counts)
        if unit.memory_max_bytes is not None:
            memory.append(unit.memory_max_bytes)
    return Unit(_by_name(series), _by_name(failed), _by_name(counts), max(memory, default=None))


def _by_name(parts: Mapping[str, T]) -> dict[str, T]:
    return {name: parts[name] for name in sorted(parts)}
