"""Gate, compare, report and baseline from the command line, on records of real simulations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.record import load
from tests.cli.ran import Run

BAD = "d1.commit_ms.p50=9"


@pytest.fixture
def saved(folder: Path, run: Run) -> Path:
    """A run in ``one``, the same with other seeds in ``other``, and ``one`` as the baseline."""
    for out, seed in (("one", "1"), ("other", "50")):
        run("simulate", "small.yaml", "--quiet", "--out", out, "--seed", seed)
    assert run("baseline", "promote", "one", "--folder", "base").code == 0
    return folder


def test_a_saved_run_is_judged_without_running_it(saved: Path, run: Run) -> None:
    """By its own limits, by stricter ones, and against the baseline it is itself."""
    ran = run("gate", "one")
    assert (ran.code, ran.last[:6]) == (0, "0 pass")
    assert "limits only, nothing compared" in ran.out
    ran = run("gate", "one/run.json", "--limit", "tracking_latency_p95=10")
    assert (ran.code, ran.last[:30]) == (20, "20 missed tracking_latency_p95")
    ran = run("gate", "one", "--baseline", "base")
    assert (ran.code, ran.last) == (0, "0 pass all 3 limits met; 3 unchanged")


def test_a_change_of_the_code_is_caught(
    saved: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same scenario and seeds, but every answer takes 3 ms more: regressed, with its KPI."""
    from sim.world import World

    before = World.network_us
    monkeypatch.setattr(
        World,
        "network_us",
        lambda self, *who: (before(self, *who)[0], before(self, *who)[1] + 3000),
    )
    run("simulate", "small.yaml", "--quiet", "--out", "now")
    ran = run("gate", "now", "--baseline", "base", "--min-effect", "tracking_latency_p95=1%")
    assert ran.code == 20
    assert ran.last.startswith("20 regressed tracking_latency_p95: +")


def test_files_for_machines(saved: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON alone on stdout; JUnit and Markdown whole; a step summary is added to."""
    ran = run("gate", "one", "--baseline", "base", "--json", "--junit", "j.xml", "--markdown", "m")
    assert json.loads(ran.out)["verdict"] == "pass"
    assert ran.err.rstrip().endswith("0 pass all 3 limits met; 3 unchanged")
    assert Path("j.xml").read_text().startswith("<?xml")
    text = Path("m").read_text()
    assert text.startswith("## ")
    run("gate", "one", "--baseline", "base", "--markdown", "m")
    assert Path("m").read_text() == text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "m")
    run("gate", "one", "--baseline", "base", "--markdown", "m")
    assert Path("m").read_text() == 2 * text


WRONG = [
    ("gate", "name a RUN"),
    ("gate nothing", "nothing: cannot be read: No such file"),
    ("gate cut", "cut/run.json: not a whole JSON document"),
    ("gate edited", "edited/run.json: not a usable run record: its digest"),
    ("gate old", "schema_version is 1, this program reads 2"),
    ("gate one --baseline nothing", "nothing: cannot be read"),
    ("gate one --baseline cut", "cut/run.json: not a whole JSON"),
    ("gate one one", "the same run is given twice"),
    ("gate one --limit speed=1", "'speed' is no KPI"),
    ("gate one --limit tracking_latency_p95=9000", "lies before the target"),
    ("gate one --min-effect 0.5", "needs a % sign"),
    ("gate one --alpha 0", "expected a share above 0"),
    ("gate one --alpha often", "expected a share above 0"),
    ("compare one", "RUN"),
    ("compare one live", "one is simulated, the other live"),
    ("report one cut", "not a whole JSON document"),
    ("baseline promote", "name a RUN"),
    (
        "baseline promote broken --folder new",
        "a run that is not valid, or not whole, is no baseline",
    ),
    ("baseline show --folder .", "neither run.json nor a baseline"),
]


def test_bad_input_has_its_own_message(saved: Path, run: Run) -> None:
    """23, the file or option by its name, no traceback; nothing passes."""
    record = load("one")
    record.kind = "live"
    record.save("live")
    record.invalid = ["Ctrl-C"]
    record.save("broken")
    text = Path("one/run.json").read_text()
    for name, content in (
        ("cut", text[: len(text) // 2]),
        ("edited", text.replace('"cache.attribution.l1": ', '"cache.attribution.l1": 1')),
        ("old", text.replace('"schema_version": 2', '"schema_version": 1')),
    ):
        Path(name).mkdir()
        (Path(name) / "run.json").write_text(content)
    for command, message in WRONG:
        ran = run(*command.split())
        assert (ran.code, ran.out) == (23, ""), command
        assert message in ran.err, command
        assert "Traceback" not in ran.err


def test_a_run_that_is_not_valid_is_22(saved: Path, run: Run) -> None:
    """It is no verdict on the system, whichever side it is on."""
    record = load("one")
    record.invalid = ["interrupted"]
    record.save("broken")
    for arguments in (
        ["broken"],
        ["broken", "--baseline", "base"],
        ["one", "--baseline", "broken"],
    ):
        ran = run("gate", *arguments)
        assert (ran.code, ran.last[:12]) == (22, "22 not valid")


def test_another_question_is_not_compared(saved: Path, run: Run) -> None:
    """21, with the setting; a scenario without a baseline likewise."""
    run("simulate", "small.yaml", "--quiet", "--out", "changed", "--set", BAD)
    ran = run("gate", "changed", "--baseline", "base")
    assert ran.code == 21
    assert "d1.commit_ms.p50 is 9.0, was 5.0" in ran.last
    run("simulate", "small.yaml", "--quiet", "--out", "named", "--set", "name=named")
    ran = run("gate", "named", "--baseline", "base")
    assert ran.code == 21
    assert "no baseline of named (simulated) is among those given (small (simulated))" in ran.last


def test_compare_says_what_differs_and_by_how_much(saved: Path, run: Run) -> None:
    """Settings first, then each KPI; there is no verdict on limits and no exit code for it."""
    run("simulate", "small.yaml", "--quiet", "--out", "changed", "--set", BAD)
    ran = run("compare", "one", "changed")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("d1.commit_ms.p50 is 9.0, was 5.0\n")
    told = json.loads(run("compare", "one", "changed", "--json").out)
    assert told["differences"] == ["d1.commit_ms.p50 is 9.0, was 5.0"]
    assert told["kpis"]["tracking_latency_p95"]["change"] > 0
    assert run("compare", "one", "one").out.startswith("the same settings and versions\n")


def test_report_tells_of_saved_runs(saved: Path, run: Run) -> None:
    """The table, the page beside the first run or where it is asked for, the worst word."""
    Path("one/report.html").unlink()
    ran = run("report", "one", "other")
    assert (ran.code, ran.last[:6]) == (0, "0 pass")
    assert Path("one/report.html").exists()
    run("report", "one/run.json", "--out", "page")
    assert Path("page/report.html").exists()
    run("simulate", "small.yaml", "--quiet", "--out", "named", "--set", "name=named")
    assert run("report", "one", "named").code == 23


def test_baselines_are_shown_and_added_to(saved: Path, run: Run) -> None:
    """What they consist of and were made with."""
    assert run("baseline", "promote", "other", "--add", "--folder", "base").code == 0
    shown = run("baseline", "show", "--folder", "base").out
    assert shown.startswith("small (simulated): 10 replications, seeds 1 to 54; ")
    assert f"sqlite {load('one').provenance['sqlite']}" in shown


def test_the_self_test_can_fail(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is that of its worst aim; the numbers as lines, or as JSON alone on stdout."""
    from reports.kpis import BY_NAME
    from sim.error_rates import Alarms, Power, Rates, SelfTest

    power = Power(BY_NAME["d1_query_p95"], 20, 0.1, 30, 30)
    for stopped, code, word in ((0, 0, "pass"), (7, 21, "inconclusive"), (40, 20, "missed")):
        alarms = Alarms("two samples", 3, 1000, stopped)
        found = SelfTest(0.01, [Rates("the rules", [alarms], [power])])
        monkeypatch.setattr("sim.self_test.measure", lambda *_, found=found: found)
        ran = run("gate", "--self-test", "--quiet")
        assert (ran.code, ran.last.split()[:2]) == (code, [str(code), word])
    told = run("gate", "--self-test", "--quiet", "--json")
    assert json.loads(told.out)["verdict"] == "missed"


def test_the_self_test_needs_a_change_to_catch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A least change of nothing is wrong input, said in a sentence."""
    from sim.known_changes import NothingToCatch

    def measure(*_: object) -> None:
        raise NothingToCatch("d1_query_p95: 2 times nothing")

    monkeypatch.setattr("sim.self_test.measure", measure)
    ran = run("gate", "--self-test", "--quiet")
    assert ran.code == 23
    assert "--self-test: d1_query_p95: 2 times nothing" in ran.err
