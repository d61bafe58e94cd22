"""What ``edgekpi simulate`` adds to a plain run: a warm-up that it finds itself."""

from __future__ import annotations

from pathlib import Path

from reports.record import load
from tests.cli.ran import Run


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
