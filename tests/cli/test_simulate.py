"""What ``edgekpi simulate`` adds to a plain run: a warm-up it finds itself, a line a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.record import load
from tests.cli.ran import Ran, Run


def test_a_warm_up_is_found(folder: Path, run: Run) -> None:
    """By a pilot run under a seed that no replication has; the record has it as its own."""
    options = ["--replications", "2", "--quiet", "--warmup", "auto", "--out", "out"]
    ran = run("simulate", "small.yaml", *options, "--seed", "5", "--set", "measure.warmup_s=3")
    record = load(folder / "out")
    found_s = record.scenario_settings["measure"]["warmup_s"]
    assert 0 <= found_s < 2
    assert record.window.start_us == round(found_s * 1_000_000)
    assert record.window.end_us - record.window.start_us == 1_000_000
    assert record.notes[-1] == f"warm-up of {found_s:.3g} s by MSER-5, seed 7"
    assert record.notes[-1] in ran.out


def test_no_steady_state_is_told(folder: Path, run: Run) -> None:
    """A queue that only grows: nothing is run, and the message says what would help."""
    overload = ["--set", "d1.cost.base_us=50000", "--set", "d1.max_queue_wait_s=600"]
    overload += ["--set", "client.timeout_s=120", "--set", "measure.window_s=3"]
    ran = run("simulate", "small.yaml", "--quiet", "--warmup", "auto", "--out", "out", *overload)
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.startswith("--warmup auto: latencies of ")
    assert "lengthen measure.window_s" in ran.err
    assert not (folder / "out" / "run.json").exists()


# --------------------------------------------------------------------------- --vary


def vary(run: Run, setting: str, *more: str) -> Ran:
    options = ["--replications", "2", "--quiet", "--out", "out", "--vary", setting, *more]
    return run("simulate", "small.yaml", *options)


def test_a_line_for_each_value(folder: Path, run: Run) -> None:
    """In their order; each run is written where its value says, under the same seeds."""
    ran = vary(run, "l1.ttl_s=2, 20", "--set", "kpis.limits.tracking_latency_p95.target=1")
    assert (ran.code, ran.last) == (0, "0 done: 0 of 2 values meet the targets")
    assert [row.split()[0] for row in ran.out.splitlines()[2:4]] == ["2", "20"]
    records = [load(folder / "out" / f"l1.ttl_s={value}") for value in (2, 20)]
    assert [record.scenario_settings["l1"]["ttl_s"] for record in records] == [2, 20]
    assert records[0].seed == records[1].seed
    shares = [record.count("cache.attribution.l1") for record in records]
    assert shares[0] < shares[1]
    assert "the longer one then always wins" in ran.out


def test_the_lines_as_json(folder: Path, run: Run) -> None:
    """One object a value on stdout; a limit on staleness is judged and counts."""
    limit = "kpis.limits.staleness_p99_s={target: 5, alert: 60}"
    ran = vary(run, "l1.ttl_s=2,20", "--json", "--set", limit)
    told = json.loads(ran.out)
    assert [(row["path"], row["value"]) for row in told] == [("l1.ttl_s", "2"), ("l1.ttl_s", "20")]
    names = {kpi["name"] for row in told for kpi in row["verdict"]["kpis"]}
    assert "staleness_p99_s" in names
    assert told[0]["l1_share"] < told[1]["l1_share"]
    assert told[0]["hit_ratio_change"] is None
    assert len(told[1]["hit_ratio_change"]) == 2
    assert "always wins" not in ran.err


def test_values_with_commas_of_their_own(folder: Path, run: Run) -> None:
    """Commas within brackets belong to the value."""
    ran = vary(run, "kpis.cache_types=[attribution, userJourneys],[channelMetrics]")
    assert ran.code == 0
    assert "[attribution, userJourneys]" in ran.out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("l1.ttl_s", "--vary l1.ttl_s: expected PATH=A,B,... such as l1.ttl_s=5,10,30"),
        ("l1.ttl_s=", "--vary l1.ttl_s=: expected PATH=A,B,..."),
        ("=1,2", "--vary =1,2: expected PATH=A,B,..."),
        ("l1.ttl_s=1,,2", "--vary l1.ttl_s=1,,2: expected PATH=A,B,..."),
        ("l1.ttl_s=1,1", "--vary l1.ttl_s=1,1: a value is listed twice"),
        ("l1.ttl_s=1,0", "l1.ttl_s"),
        ("l1.tll_s=1,2", "l1.tll_s"),
    ],
)
def test_wrong_values_are_told_before_anything_is_run(
    folder: Path, run: Run, setting: str, message: str
) -> None:
    """Also if only the last of them is wrong."""
    ran = vary(run, setting)
    assert (ran.code, ran.out) == (23, "")
    assert message in ran.err
    assert not (folder / "out").exists()


def test_a_run_that_is_not_valid_ends_the_lines(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22, with the value and the reason."""
    monkeypatch.setattr("sim.laws.requests_lost", lambda *_: ["a request is lost"])
    ran = vary(run, "l1.ttl_s=2,20")
    assert ran.code == 22
    assert ran.last.startswith("22 not valid l1.ttl_s=2: replication 1: a request is lost")


def test_lines_need_one_window(folder: Path, run: Run) -> None:
    """A warm-up found for each value would give each its own."""
    ran = vary(run, "l1.ttl_s=2,20", "--warmup", "auto")
    assert (ran.code, ran.out) == (23, "")
