"""Every request of a run, in columns: small to keep, quick to send, and written as CSV."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_impl.profiling.hdr import rank_of
from reports.files import whole_file
from reports.kpis import P
from reports.record import Window
from reports.samples import FAILED, Samples

NUMBERS = ("number", "intended_us", "actual_us", "end_us", "status")
TEXTS = ("route", "failure", "layers")
MINUTE_US = 60_000_000


class Row(NamedTuple):
    """One request. Times count from the plan's zero; ``status`` is 0 when no answer came.

    ``failure`` is empty for a request that did not fail; ``layers`` holds the initial of the layer
    that answered each look-up (``LKMJU``: memory, KV, miss, joined, unknown).
    """

    number: int
    intended_us: int
    actual_us: int
    end_us: int
    status: int
    route: str
    failure: str
    layers: str


class WorstMinute(NamedTuple):
    """The minute of the window with the highest P95, and when it began."""

    start_us: int
    p95_us: int | None


class Rows:
    """Requests in the order in which they ended."""

    def __init__(self) -> None:
        self._numbers = tuple(array("q") for _ in NUMBERS)
        self._texts: tuple[list[str], ...] = tuple([] for _ in TEXTS)

    def __len__(self) -> int:
        return len(self._numbers[0])

    def __iter__(self) -> Iterator[Row]:
        return map(Row._make, zip(*self._numbers, *self._texts, strict=True))

    def add(self, row: Row) -> None:
        """Note one request."""
        numbers, texts = self._numbers, self._texts
        numbers[0].append(row.number)
        numbers[1].append(row.intended_us)
        numbers[2].append(row.actual_us)
        numbers[3].append(row.end_us)
        numbers[4].append(row.status)
        texts[0].append(row.route)
        texts[1].append(row.failure)
        texts[2].append(row.layers)

    def pack(self, start: int, stop: int) -> dict[str, Any]:
        """The requests from ``start`` to before ``stop``, for :meth:`unpack` in another process."""
        return {
            "from": start,
            "numbers": [column[start:stop].tolist() for column in self._numbers],
            "texts": [texts[start:stop] for texts in self._texts],
        }

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Add what :meth:`pack` made; a piece that does not follow the last one is left out."""
        if packed["from"] != len(self):
            return
        for column, values in zip(self._numbers, packed["numbers"], strict=True):
            column.extend(values)
        for texts, values in zip(self._texts, packed["texts"], strict=True):
            texts.extend(values)

    def extend(self, other: Rows) -> None:
        """Add all requests of ``other``."""
        self.unpack({**other.pack(0, len(other)), "from": len(self)})

    def samples(self) -> Samples:
        """The same as the record keeps it."""
        samples = Samples()
        for row in self:
            latency_us = FAILED if row.failure else row.end_us - row.intended_us
            samples.add(row.number, row.route, latency_us, row.layers)
        return samples

    def write_csv(self, path: Path) -> None:
        """Write all requests by number, in one step.

        Raises:
            OSError: when the file cannot be written.
        """
        with whole_file(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows(sorted(self))

    def worst_minutes(self, window: Window) -> dict[str, WorstMinute]:
        """For each route the worst minute of its latency from the intended start.

        The window is cut into whole minutes from its start; a rest under half a minute belongs to
        the last one. A failed request ranks above all others, so a minute may have no P95.
        """
        minutes = max(1, round((window.end_us - window.start_us) / MINUTE_US))
        intended = np.array(self._numbers[1], dtype=np.int64)
        end = np.array(self._numbers[3], dtype=np.int64)
        routes, failures = (np.array(self._texts[i], dtype=np.str_) for i in (0, 1))
        latency = np.where(failures == "", end - intended, np.iinfo(np.int64).max)
        minute = np.minimum((intended - window.start_us) // MINUTE_US, minutes - 1)
        inside = (window.start_us <= intended) & (intended < window.end_us)
        found = {}
        for route in sorted(set(routes.tolist())):
            chosen = inside & (routes == route)
            by_minute = ((int(m), latency[chosen & (minute == m)]) for m in range(minutes))
            worst = max(((_p95(us), m) for m, us in by_minute if us.size), default=None)
            if worst is not None:
                p95 = None if worst[0] == np.iinfo(np.int64).max else worst[0]
                found[route] = WorstMinute(window.start_us + worst[1] * MINUTE_US, p95)
        return found


def _p95(latencies_us: NDArray[np.int64]) -> int:
    return int(np.sort(latencies_us)[rank_of(P, len(latencies_us)) - 1])
