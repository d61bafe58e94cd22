"""What the load test reports against what raw samples say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from reference_impl.profiling.hdr import Histogram, rank_of
from reports import hlog
from reports.record import ROUTES
from scenarios.journeys import load_population
from scenarios.loader import load
from scenarios.plan import Plan
from tests.live.load_runs import Server, launch, lost, play, record_in
from tests.oracles.open_client import latencies_us

pytestmark = pytest.mark.live


def percentile(values: list[int], p: float) -> int:
    return sorted(values)[rank_of(p, len(values)) - 1]


def sets(*overrides: str) -> tuple[str, ...]:
    return tuple(word for override in overrides for word in ("--set", override))


def test_a_freeze_is_reported_as_an_ideal_open_client_sees_it(
    tmp_path: Path, server: Server
) -> None:
    """30 s at 100/s, frozen once for 2.5 s: P95 and P99 within 2 % of that client's raw log."""
    overrides = (
        *("measure.warmup_s=0", "measure.window_s=30", "client.timeout_s=10"),
        *("workload.attribution.rate_per_s=100", "workload.tracking.rate_per_s=0"),
    )
    scenario = load("smoke/tiny", overrides)
    plan = Plan(scenario, scenario.seed, len(load_population(scenario.data).conversions))
    intended_us = [int(us) for chunk in plan for us in chunk.intended_us]

    ours, ideal = server("freeze:1200:2.5"), server("freeze:1200:2.5")
    process = launch(tmp_path, ours, "--headless", *sets(*overrides))
    raw = latencies_us(int(ideal.rpartition(":")[2]), intended_us)
    out, err = process.communicate(timeout=60)
    record = record_in(tmp_path)
    assert lost(record) == [], out + err
    reported, failed = record.pooled("latency.attribution.intended")
    assert (reported.count, failed) == (len(raw), 0)
    assert percentile(raw, 0.95) > 500_000
    for p in (0.95, 0.99):
        assert reported.percentile(p) == pytest.approx(percentile(raw, p), rel=0.02)
    assert record.pooled("latency.attribution.actual")[0].count == len(raw)
    assert "Attribution, from the actual start" in out


def test_three_workers_lose_nothing_of_forty_thousand_requests(
    tmp_path: Path, server: Server
) -> None:
    """Merged histograms, raw list and the workers' logs: the same counts and percentiles."""
    more = sets(
        *("measure.warmup_s=0", "measure.window_s=20.5", "client.timeout_s=20"),
        *("workload.attribution.rate_per_s=1400", "workload.tracking.rate_per_s=600"),
    )
    raw = tmp_path / "raw.csv"
    _, out, err = play(tmp_path, server("ok"), "--processes", "3", "--raw", str(raw), *more)
    record = record_in(tmp_path)
    assert lost(record) == [], out + err
    with raw.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == record.provenance["requests_offered"]
    assert len(rows) >= 40_000
    assert [int(row["number"]) for row in rows] == list(range(len(rows)))
    logs = [hlog.read(path) for path in sorted((tmp_path / "out").glob("latency-*.hlog"))]
    assert len(logs) == 3
    for route in ROUTES:
        exact = [
            int(row["end_us"]) - int(row["intended_us"])
            for row in rows
            if row["route"] == route and not row["failure"]
        ]
        merged = record.pooled(f"latency.{route}.intended")[0]
        from_files = Histogram()
        for log in logs:
            from_files.add(log[f"{route}.intended"])
        assert merged.count == from_files.count == len(exact)
        assert merged.max_us == max(exact)
        assert merged.sum_us == int(np.sum(exact))
        for p in (0.5, 0.95, 0.99, 0.999):
            assert merged.percentile(p) == pytest.approx(percentile(exact, p), rel=1e-3, abs=1)
            assert from_files.percentile(p) == pytest.approx(percentile(exact, p), rel=1e-3, abs=1)


def test_closed_users_say_so_and_show_an_estimate(tmp_path: Path, server: Server) -> None:
    """Five users hardly notice half a second; the estimate beside shows what they left out."""
    more = ("--closed", "5", "--think-time", "0.01")
    _, out, err = play(tmp_path, server("freeze"), *more)
    record = record_in(tmp_path)
    assert lost(record) == [], out + err
    assert record.provenance["load_model"] == "closed: 5 users, 0.01 s think time"
    assert any("an estimate" in note for note in record.notes)
    measured = record.pooled("latency.attribution.intended")[0]
    corrected = record.pooled("latency.attribution.corrected")[0]
    assert corrected.count > measured.count > 100
    assert (corrected.percentile(0.95) or 0) > 5 * (measured.percentile(0.95) or 0)
    assert "Attribution, corrected (estimate)" in out
