"""How a command ends, what it prints where, and what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import edgekpi
from reports.kpis import CATALOGUE
from reports.record import load
from tests.cli.ran import Ran, Run

ROOT = Path(__file__).parents[2]
TARGET = "kpis.limits.tracking_latency_p95.target"


def simulate(run: Run, *more: str) -> Ran:
    """Two replications of the small scenario."""
    return run("simulate", "small.yaml", "--replications", "2", "--quiet", *more)


# --------------------------------------------------------------------------- check


def test_check_says_what_is_asked(folder: Path, run: Run) -> None:
    """One paragraph on stdout; bundled names work from any folder."""
    for name in ("small.yaml", "steady/baseline", "scenarios/smoke/tiny.yaml"):
        ran = run("check", name)
        assert (ran.code, ran.err) == (0, "")
        assert "look-ups a second" in ran.out


def test_check_warns(folder: Path, run: Run) -> None:
    """Of what the scenario cannot show; that is no error."""
    ran = run("check", "small.yaml", "--set", "measure.start=cold")
    assert ran.code == 0
    assert "warning: the start is cold" in ran.out


# --------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("overrides", "code", "word"),
    [
        ([], 0, "pass"),
        ([f"{TARGET}=1"], 20, "missed tracking_latency_p95"),
        (["kpis.limits.tracking_latency_p95={target: 1, alert: 2}"], 20, "alert"),
        (["measure.window_s=0.05"], 21, "inconclusive tracking_latency_p95"),
        (["workload.tracking.rate_per_s=0"], 21, "no-data tracking_latency_p95"),
        (["kpis.required=[cache_hit_ratio]", "kv.read_central_ms.p99=100"], 23, ""),
    ],
)
def test_the_exit_code_is_the_verdict(
    folder: Path, run: Run, overrides: list[str], code: int, word: str
) -> None:
    """And the last line says code, word, KPI and what to do next."""
    more = [argument for override in overrides for argument in ("--set", override)]
    ran = run("simulate", "small.yaml", "--quiet", *more)
    assert ran.code == code
    if code == 23:
        assert ran.out == ""
        assert "Traceback" not in ran.err
    else:
        assert ran.last.startswith(f"{code} {word}")


def test_what_ran_is_written(folder: Path, run: Run) -> None:
    """Record, report and samples, in the folder named or in one named after the run."""
    assert simulate(run, "--out", "here").code == 0
    assert simulate(run).code == 0
    for out in (Path("here"), Path("reports", "out", "small-simulated")):
        assert sorted(path.name for path in out.iterdir()) == [
            "report.html",
            "run.json",
            "samples.npz",
        ]
        assert load(out).scenario == "small"
        assert "<html" in (out / "report.html").read_text()
    assert (Path("here") / "run.json").read_bytes() == (out / "run.json").read_bytes()


def test_options_reach_the_run(folder: Path, run: Run) -> None:
    """Seed, replications and overrides are in the record."""
    simulate(run, "--seed", "9", "--replications", "3", "--set", "l1.ttl_s=7", "--out", "o")
    record = load("o")
    assert (record.seed, len(record.units)) == (9, 3)
    assert record.scenario_settings["l1"]["ttl_s"] == 7
    simulate(run, "--set", "seed=4", "--out", "o")
    assert load("o").seed == 4


def test_five_replications_unless_told() -> None:
    """The number that the contract promises."""
    options = edgekpi.parser().parse_args(["simulate", "x"])
    assert options.replications == 5


def test_a_second_run_replaces_the_first(folder: Path, run: Run) -> None:
    """Whole files under the same names, nothing left beside them."""
    simulate(run, "--out", "o")
    first = (Path("o") / "run.json").read_bytes()
    simulate(run, "--out", "o", "--seed", "5")
    assert load("o").seed == 5
    simulate(run, "--out", "o")
    assert (Path("o") / "run.json").read_bytes() == first
    assert len(list(Path("o").iterdir())) == 3


def test_a_run_that_fails_to_write_leaves_the_old_record(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written beside and moved over in one step, so a crash in between harms nothing."""
    simulate(run, "--out", "o")
    first = (Path("o") / "run.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reports.record.os.replace", full)
    ran = simulate(run, "--out", "o", "--seed", "5")
    assert (ran.code, ran.err) == (22, "22 not valid: [Errno 28] No space left on device\n")
    assert (Path("o") / "run.json").read_bytes() == first
    assert len(list(Path("o").iterdir())) == 3


# --------------------------------------------------------------------------- --json


def test_json_is_the_verdict_and_nothing_else(folder: Path, run: Run) -> None:
    """The shape of the contract on stdout, everything for people on stderr."""
    ran = simulate(run, "--json")
    told = json.loads(ran.out)
    assert list(told) == ["scenario", "kind", "verdict", "kpis"]
    assert (told["scenario"], told["kind"], told["verdict"]) == ("small", "simulated", "pass")
    assert [kpi["name"] for kpi in told["kpis"]] == [kpi.name for kpi in CATALOGUE]
    for kpi in told["kpis"]:
        assert list(kpi) == [
            *("name", "value", "interval", "unit", "target", "alert", "verdict"),
            *("samples", "failed", "basis"),
        ]
        assert kpi["basis"] in ("measured", "modelled", "input")
        assert kpi["interval"] is None or len(kpi["interval"]) == 2
        assert type(kpi["samples"]) is type(kpi["failed"]) is int
    assert len(told["kpis"]) == 8
    assert "tracking_latency_p95" in ran.err
    assert ran.err.rstrip().splitlines()[-1].startswith("0 pass ")


def test_json_has_no_numbers_where_there_are_none(folder: Path, run: Run) -> None:
    """No data is null, not NaN or 0, and the code is the verdict's."""
    ran = simulate(run, "--json", "--set", "workload.tracking.rate_per_s=0")
    assert ran.code == 21
    told = json.loads(ran.out, parse_constant=lambda name: pytest.fail(name))
    (tracking,) = [kpi for kpi in told["kpis"] if kpi["name"] == "tracking_latency_p95"]
    assert (tracking["value"], tracking["interval"], tracking["samples"]) == (None, None, 0)
    assert (told["verdict"], tracking["verdict"]) == ("no-data", "no-data")


# --------------------------------------------------------------------------- Ctrl-C

LONG = """
import sys
import reports.progress
reports.progress.LINE_EVERY_S = 0.0
import edgekpi
sys.exit(edgekpi.main(sys.argv[1:]))
"""


def test_ctrl_c_saves_what_was_finished(folder: Path) -> None:
    """22, a record that says why, a report, no traceback."""
    command = [sys.executable, "-c", LONG, "simulate", "small.yaml", "--replications", "100000"]
    process = subprocess.Popen(
        [*command, "--out", "o"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for _ in range(5):
        assert process.stderr.readline().startswith("simulating: ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 22
    assert "Traceback" not in err
    record = load("o")
    (reason,) = record.invalid
    assert reason.startswith("interrupted after ")
    assert reason.endswith(f"{len(record.units)} of 100000 replications")
    assert out.rstrip().splitlines()[-1].startswith("22 not valid all KPIs: interrupted after")
    assert (Path("o") / "report.html").exists()


def test_ctrl_c_in_the_simulation_of_run_ends_the_run(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load test is not begun; what there is, is told."""

    def stop(_scenario: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.simulate.prepare", stop)
    monkeypatch.setattr(
        "loadtest._commands.load_into", lambda *_: pytest.fail("the load test was begun")
    )
    ran = run("run", "small.yaml", "--quiet")
    assert ran.code == 22
    assert ran.last.startswith("22 not valid all KPIs: interrupted after 0 of 5 replications")


def test_ctrl_c_elsewhere_is_not_valid(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22 with one line, also where there is nothing to save."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenarios.loader.load", stop)
    ran = run("check", "small.yaml")
    assert (ran.code, ran.err) == (22, "22 not valid: interrupted\n")


def test_a_server_that_does_not_start_is_not_valid(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own message, ours, and the last line with the code; also where Locust itself fails."""
    monkeypatch.setattr("loadtest._commands.serve_command", lambda _: [sys.executable, "-c", "1/0"])
    ran = run("load", "small.yaml")
    assert (ran.code, ran.out) == (22, "")
    assert ran.err.splitlines() == [
        "the emulated server did not start; its own message is above",
        "22 not valid: there is no record, for the reason above",
    ]
    monkeypatch.setattr("loadtest._launch.run_locust", lambda *_, **__: 1)
    ran = run("load", "small.yaml", "--host", "http://127.0.0.1:9")
    assert (ran.code, ran.out) == (22, "")
    assert ran.err.splitlines() == ["22 not valid: there is no record, for the reason above"]
