"""What cannot be run is told in sentences, all at once, and nothing is run; and --help."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.ran import Run

VERBS = (
    "check", "simulate", "verify", "serve", "load", "plan", "gate", "compare", "report", "baseline",
    "run",
)  # fmt: skip

WRONG = """\
name: wrong
measure: {windows_s: 30}
workload:
  attribution:
    rate_per_s: -5
  trackin: {rate_per_s: 10}
"""


@pytest.mark.parametrize("verb", ["check", "simulate", "load", "run", "serve"])
def test_two_typos_and_a_negative_rate(folder: Path, run: Run, verb: str) -> None:
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
def test_a_file_with_no_scenario_in_it(folder: Path, run: Run, text: str) -> None:
    """One sentence that names the file."""
    (folder / "empty.yaml").write_text(text)
    ran = run("check", "empty.yaml")
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.startswith("empty.yaml:")
    assert len(ran.err.splitlines()) == 2


def test_a_missing_file_names_the_bundled_ones(folder: Path, run: Run) -> None:
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
def test_a_wrong_option_is_wrong_input(folder: Path, run: Run, arguments: list[str]) -> None:
    """23 and a sentence, where argparse alone would say 2."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.rstrip().splitlines()[-1].startswith("23 wrong input")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "override", ["measure.window_s", "=1", "nothing.here=1", "measure.window_s=-1", "seed=yes"]
)
def test_a_wrong_override_is_named(folder: Path, run: Run, override: str) -> None:
    """The message begins with the override it is about."""
    ran = run("simulate", "small.yaml", "--set", override)
    assert ran.code == 23
    assert ran.err.startswith("--set ")
    assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize("verb", ["simulate", "load", "run"])
def test_a_folder_that_cannot_be_is_told_before_the_run(folder: Path, run: Run, verb: str) -> None:
    """Not after minutes, and not as a traceback."""
    ran = run(verb, "small.yaml", "--out", "small.yaml/out")
    assert (ran.code, ran.out) == (23, "")
    assert ran.err.startswith("--out small.yaml/out: ")


def test_a_port_in_use_is_told(folder: Path, run: Run) -> None:
    """By the option that names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run("serve", "small.yaml", "--port", str(taken.getsockname()[1]))
    assert (ran.code, ran.out) == (23, "")
    assert "Address already in use" in ran.err


# --------------------------------------------------------------------------- help


def test_help_lists_what_works(run: Run) -> None:
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
        (
            "simulate",
            [
                "--set",
                "--seed",
                "--replications",
                "--vary",
                "--warmup",
                "--out",
                "--json",
                "--quiet",
            ],
        ),
        ("verify", ["--seed", "--precise", "--json", "--quiet"]),
        ("serve", ["--set", "--host", "--port", "--emulate", "--kv", "--d1", "--queue"]),
        (
            "load",
            [
                "--set",
                "--host",
                "--i-own-this-host",
                "--dry-run",
                "--processes",
                "--raw",
                "--closed",
                "--think-time",
                "--out",
                "--json",
                "--quiet",
            ],
        ),
        ("plan", ["--set", "--seed", "--csv", "--quiet"]),
        ("run", ["--set", "--out", "--json", "--quiet"]),
        (
            "gate",
            [
                *("--baseline", "--alpha", "--min-effect", "--limit", "--fail-on", "--allow"),
                *("--junit", "--markdown", "--json", "--self-test", "--pairs", "--quiet"),
            ],
        ),
        ("compare", ["--alpha", "--min-effect", "--json"]),
        ("report", ["--out", "--json"]),
        ("baseline", ["--folder", "--add"]),
    ],
)
def test_help_of_each_command_is_complete(run: Run, verb: str, options: list[str]) -> None:
    """Every option is there with a sentence, the scenario is explained, and so are the codes."""
    ran = run(verb, "--help")
    assert ran.code == 0
    described = [line.split()[0] for line in ran.out.splitlines() if line.startswith("  --")]
    assert sorted(described) == sorted(options)
    assert "SCENARIO" in ran.out
    assert "wrong input" in ran.out
    for line in ran.out.splitlines():
        assert len(line) <= 100
