"""The command line in process: what it prints where, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgekpi
from reports.kpis import CATALOGUE
from reports.record import load

ROOT = Path(__file__).parents[1]

SMALL = """\
name: small
measure: {warmup_s: 0.2, window_s: 1}
workload:
  attribution: {rate_per_s: 200}
  tracking: {rate_per_s: 200}
data: {max_paths: 30}
kpis:
  required: [tracking_latency_p95, worker_memory_max]
  limits:
    tracking_latency_p95: {target: 1000, alert: 2000}
"""
TARGET = "kpis.limits.tracking_latency_p95.target"

VERBS = ("check", "simulate", "serve", "load", "run")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with one scenario in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


class Ran:
    """One command that has ended."""

    def __init__(self, code: int, printed: tuple[str, str]) -> None:
        self.code = code
        self.out, self.err = printed

    @property
    def last(self) -> str:
        return self.out.rstrip().splitlines()[-1]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """``run("check", ...)``: the command's exit code and what it printed."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = edgekpi.main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, capsys.readouterr())

    return call


def simulate(run: Any, *more: str) -> Ran:
    ran = run("simulate", "small.yaml", "--replications", "2", "--quiet", *more)
    assert isinstance(ran, Ran)
    return ran


# --------------------------------------------------------------------------- check


def test_check_says_what_is_asked(folder: Path, run: Any) -> None:
    """One paragraph on stdout; bundled names work from any folder."""
    for name in ("small.yaml", "steady/baseline", "scenarios/smoke/tiny.yaml"):
        ran = run("check", name)
        assert (ran.code, ran.err) == (0, "")
        assert "look-ups a second" in ran.out


def test_check_warns(folder: Path, run: Any) -> None:
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
    folder: Path, run: Any, overrides: list[str], code: int, word: str
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


def test_what_ran_is_written(folder: Path, run: Any) -> None:
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


def test_options_reach_the_run(folder: Path, run: Any) -> None:
    """Seed, replications and overrides are in the record."""
    simulate(run, "--seed", "9", "--replications", "3", "--set", "l1.ttl_s=7", "--out", "o")
    record = load("o")
    assert (record.seed, len(record.units)) == (9, 3)
    assert record.scenario_settings["l1"]["ttl_s"] == 7
    simulate(run, "--set", "seed=4", "--out", "o")
    assert load("o").seed == 4


def test_five_replications_unless_told() -> None:
    """The number that the contract promises."""
    options = edgekpi._parser().parse_args(["simulate", "x"])
    assert options.replications == 5


def test_a_second_run_replaces_the_first(folder: Path, run: Any) -> None:
    """Whole files under the same names, nothing left beside them."""
    simulate(run, "--out", "o")
    first = (Path("o") / "run.json").read_bytes()
    simulate(run, "--out", "o", "--seed", "5")
    assert load("o").seed == 5
    simulate(run, "--out", "o")
    assert (Path("o") / "run.json").read_bytes() == first
    assert len(list(Path("o").iterdir())) == 3


def test_a_run_that_fails_to_write_leaves_the_old_record(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
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


def test_json_is_the_verdict_and_nothing_else(folder: Path, run: Any) -> None:
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


def test_json_has_no_numbers_where_there_are_none(folder: Path, run: Any) -> None:
    """No data is null, not NaN or 0, and the code is the verdict's."""
    ran = simulate(run, "--json", "--set", "workload.tracking.rate_per_s=0")
    assert ran.code == 21
    told = json.loads(ran.out, parse_constant=lambda name: pytest.fail(name))
    (tracking,) = [kpi for kpi in told["kpis"] if kpi["name"] == "tracking_latency_p95"]
    assert (tracking["value"], tracking["interval"], tracking["samples"]) == (None, None, 0)
    assert (told["verdict"], tracking["verdict"]) == ("no-data", "no-data")


# --------------------------------------------------------------------------- wrong input

WRONG = """\
name: wrong
measure: {windows_s: 30}
workload:
  attribution:
    rate_per_s: -5
  trackin: {rate_per_s: 10}
"""


@pytest.mark.parametrize("verb", ["check", "simulate", "load", "run", "serve"])
def test_two_typos_and_a_negative_rate(folder: Path, run: Any, verb: str) -> None:
    """Three messages with their lines, then one that says the code; no traceback, no files."""
    (folder / "wrong.yaml").write_text(WRONG)
    ran = run(verb, "wrong.yaml")
    assert (ran.code, ran.out) == (23, "")
    *problems, last = ran.err.splitlines()
    assert [problem.split(" ")[0] for problem in problems] == [
        "wrong.yaml:2:",
        "wrong.yaml:5:",
        "wrong.yaml:6:",
    ]
    assert "did you mean 'window_s'" in problems[0]
    assert "greater than or equal to 0, got -5" in problems[1]
    assert last.startswith("23 wrong input")
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml", "wrong.yaml"]


@pytest.mark.parametrize("text", ["", "# nothing but a remark\n", "- 1\n", "\x00"])
def test_a_file_with_no_scenario_in_it(folder: Path, run: Any, text: str) -> None:
    """One sentence that names the file."""
    (folder / "empty.yaml").write_text(text)
    ran = run("check", "empty.yaml")
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.startswith("empty.yaml:")
    assert len(ran.err.splitlines()) == 2


def test_a_missing_file_names_the_bundled_ones(folder: Path, run: Any) -> None:
    """So that a slip of the pen is seen at once."""
    ran = run("simulate", "steady/baselin")
    assert ran.code == 23
    assert "steady/baseline" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["gate"],
        ["check"],
        ["check", "small.yaml", "--nonsense"],
        ["check", "small.yaml", "--json"],
        ["simulate", "small.yaml", "--seed", "-1"],
        ["simulate", "small.yaml", "--seed", "1.5"],
        ["simulate", "small.yaml", "--seed", "²"],
        ["simulate", "small.yaml", "--seed", "9" * 5000],
        ["simulate", "small.yaml", "--replications", "0"],
        ["serve", "--port", "65536"],
        ["run", "small.yaml", "extra"],
    ],
)
def test_a_wrong_option_is_wrong_input(folder: Path, run: Any, arguments: list[str]) -> None:
    """23 and a sentence, where argparse alone would say 2."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.rstrip().splitlines()[-1].startswith("23 wrong input")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "override", ["measure.window_s", "=1", "nothing.here=1", "measure.window_s=-1", "seed=yes"]
)
def test_a_wrong_override_is_named(folder: Path, run: Any, override: str) -> None:
    """The message begins with the override it is about."""
    ran = run("simulate", "small.yaml", "--set", override)
    assert ran.code == 23
    assert ran.err.startswith("--set ")
    assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize("verb", ["simulate", "load", "run"])
def test_a_folder_that_cannot_be_is_told_before_the_run(folder: Path, run: Any, verb: str) -> None:
    """Not after minutes, and not as a traceback."""
    ran = run(verb, "small.yaml", "--out", "small.yaml/out")
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.startswith("--out small.yaml/out: ")


def test_a_port_in_use_is_told(folder: Path, run: Any) -> None:
    """By the option that names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run("serve", "small.yaml", "--port", str(taken.getsockname()[1]))
    assert (ran.code, ran.out) == (23, "")
    assert "Address already in use" in ran.err


# --------------------------------------------------------------------------- help


def test_help_lists_what_works(run: Any) -> None:
    """Exactly the commands of the contract, and what each exit code means."""
    ran = run("--help")
    listed = [line.split()[0] for line in ran.out.splitlines() if line.startswith("    ")]
    assert [word for word in listed if word.isalpha() and word in VERBS] == list(VERBS)
    for code in ("0", "20", "21", "22", "23"):
        assert f"\n  {code:>2}  " in ran.out


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("check", ["--set"]),
        ("simulate", ["--set", "--seed", "--replications", "--out", "--json", "--quiet"]),
        ("serve", ["--set", "--host", "--port", "--emulate"]),
        ("load", ["--set", "--host", "--i-own-this-host", "--out", "--json", "--quiet"]),
        ("run", ["--set", "--out", "--json", "--quiet"]),
    ],
)
def test_help_of_each_command_is_complete(run: Any, verb: str, options: list[str]) -> None:
    """Every option is there with a sentence, the scenario is explained, and so are the codes."""
    ran = run(verb, "--help")
    assert ran.code == 0
    described = [line.split()[0] for line in ran.out.splitlines() if line.startswith("  --")]
    assert sorted(described) == sorted(options)
    assert "SCENARIO" in ran.out
    assert "wrong input" in ran.out
    for line in ran.out.splitlines():
        assert len(line) <= 100


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
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load test is not begun; what there is, is told."""

    def stop(_scenario: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.simulate.prepare", stop)
    monkeypatch.setattr("edgekpi._load", lambda *_: pytest.fail("the load test was begun"))
    ran = run("run", "small.yaml", "--quiet")
    assert ran.code == 22
    assert ran.last.startswith("22 not valid all KPIs: interrupted after 0 of 5 replications")


def test_ctrl_c_elsewhere_is_not_valid(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22 with one line, also where there is nothing to save."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenarios.loader.load", stop)
    ran = run("check", "small.yaml")
    assert (ran.code, ran.err) == (22, "22 not valid: interrupted\n")
