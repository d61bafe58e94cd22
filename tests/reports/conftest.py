"""A record of the shape both worlds write, to be bent by the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from reference_impl.profiling.hdr import Histogram
from reports.kpis import KPI_NAMES
from reports.record import Kind, RunRecord, Unit, Window, sha256

SERIES_MS = {
    "latency.tracking.intended": 40,
    "latency.tracking.actual": 38,
    "latency.attribution.intended": 22,
    "latency.attribution.actual": 21,
    "d1.request": 14,
    "d1.request.sql": 1,
    "d1.request.wait": 2,
    "d1.request.round_trip": 11,
    "d1.consumer": 15,
    "queue.handling": 120,
    "queue.accepted_to_stored": 5200,
    "cpu": 2,
}


def histogram(values_ms: Sequence[float]) -> Histogram:
    """A histogram of these milliseconds."""
    made = Histogram()
    made.record_many([round(value * 1000) for value in values_ms])
    return made


def unit(seed: int, samples: int, factor: float = 1.0) -> Unit:
    """One unit whose series are lognormal around ``SERIES_MS`` times ``factor``."""
    draws = np.random.Generator(np.random.Philox(seed))
    series = {
        name: histogram((ms * factor * np.exp(0.3 * draws.standard_normal(samples))).tolist())
        for name, ms in SERIES_MS.items()
    }
    counts = {
        "requests.tracking": samples,
        "requests.attribution": samples,
        "errors.total": 2 * samples,
        "cache.total": 2 * samples,
        "cache.part": 2 * samples - samples // 50,
        "cache.attribution.l1": samples,
        "cache.attribution.kv": samples - samples // 50,
        "cache.attribution.miss": samples // 50,
        "memory": 3,
    }
    return Unit(series, {}, counts, (30 + seed) * 2**20)


def with_loads(record: RunRecord, **loads: float) -> RunRecord:
    """The record with these loads of its parts in each unit; none counted for the others."""
    for made in record.units:
        for part, load in loads.items():
            made.counts[f"load.{part}.asked_us"] = round(load * 1_000_000)
            made.counts[f"load.{part}.window_us"] = 1_000_000
    return record


STABLE = {"d1": 0.5, "isolate": 0.5, "consumer_isolate": 0.5, "consumers": 0.5}


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    """``make_record(kind, samples, factor, units, first)``: a valid run that meets every target.

    ``first`` is its first seed: another one gives other samples.
    """

    def make(
        kind: Kind = "simulated",
        samples: int = 400,
        factor: float = 1.0,
        units: int = 5,
        first: int = 1,
    ) -> RunRecord:
        settings = {"name": "baseline", "seed": 1}
        return RunRecord(
            kind=kind,
            scenario="steady/baseline",
            scenario_settings=settings,
            scenario_sha256=sha256(settings),
            seed=first,
            window=Window(5_000_000, 35_000_000),
            units=[unit(first - 1 + index, samples, factor) for index in range(units)],
            required=list(KPI_NAMES),
            cache_types=["attribution", "channelMetrics", "userJourneys"],
            provenance={"python": "3.11.7", "sqlite": "3.54.1"},
        )

    return make
