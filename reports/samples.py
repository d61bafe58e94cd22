"""Every request of one run by its number, so that two worlds can be compared one by one."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

FAILED = -1
"""The latency of a request that has none."""

LAYERS_WIDTH = 10
"""Look-ups kept of one request: as many as the evidence headers carry."""


class Samples:
    """Latency from the intended start and answering layers of each request, by request number."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, str, int, str]] = []

    def add(self, number: int, route: str, latency_us: int, layers: str) -> None:
        """Note one request; ``layers`` holds the initial of each look-up's layer (``LKMJU``)."""
        self._rows.append((number, route, latency_us, layers[:LAYERS_WIDTH]))

    def table(self) -> SampleTable:
        """All rows as arrays, in the order of their numbers."""
        rows = sorted(self._rows)
        return SampleTable(
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype="U16"),
            np.array([row[2] for row in rows], dtype=np.int64),
            np.array([row[3] for row in rows], dtype=f"U{LAYERS_WIDTH}"),
        )

    def save(self, folder: Path) -> Path:
        """Write ``samples.npz`` in one step, so that a killed run leaves none or all of it."""
        target = folder / "samples.npz"
        partial = folder / ".samples.partial.npz"
        try:
            np.savez_compressed(partial, **self.table()._asdict())
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return target


class SampleTable(NamedTuple):
    """Columns of equal length: request number, route, latency in microseconds, layers."""

    number: NDArray[np.int64]
    route: NDArray[np.str_]
    latency_us: NDArray[np.int64]
    layers: NDArray[np.str_]


def load(path: Path) -> SampleTable:
    """Read what :meth:`Samples.save` wrote.

    Raises:
        ValueError: when the file is missing or is no such table.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            table = SampleTable(*(arrays[name] for name in SampleTable._fields))
        if len({len(column) for column in table}) > 1:
            raise ValueError("its columns differ in length")
    except (OSError, EOFError, LookupError, TypeError, ValueError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: no readable table of samples ({error})") from None
    return table


def agreement(simulated: SampleTable, emulated: SampleTable) -> dict[str, Any]:
    """How far two worlds agree, over the requests that both answered.

    ``same_layers`` is the share answered by the same layers; for each route, P50 and P95 of both
    worlds in microseconds and ``paired_p50_us``, the median of the differences request by request.
    """
    _, left, right = np.intersect1d(simulated.number, emulated.number, return_indices=True)
    both = (simulated.latency_us[left] != FAILED) & (emulated.latency_us[right] != FAILED)
    left, right = left[both], right[both]
    if len(left) == 0:
        return {"requests": 0, "same_layers": None, "routes": {}}
    same = simulated.layers[left] == emulated.layers[right]
    routes = {}
    for route in sorted(set(simulated.route[left].tolist())):
        chosen = simulated.route[left] == route
        routes[route] = _paired(
            simulated.latency_us[left][chosen], emulated.latency_us[right][chosen]
        )
    return {"requests": len(left), "same_layers": float(same.mean()), "routes": routes}


def _paired(simulated: NDArray[np.int64], emulated: NDArray[np.int64]) -> dict[str, int]:
    return {
        "requests": len(simulated),
        "simulated_p50_us": _percentile(simulated, 0.50),
        "emulated_p50_us": _percentile(emulated, 0.50),
        "simulated_p95_us": _percentile(simulated, 0.95),
        "emulated_p95_us": _percentile(emulated, 0.95),
        "paired_p50_us": _percentile(emulated - simulated, 0.50),
    }


def _percentile(values: NDArray[np.int64], share: float) -> int:
    """The sample of rank ceil(share n), the rank rule of every percentile here."""
    rank = max(1, int(np.ceil(share * len(values))))
    return int(np.sort(values)[rank - 1])
