"""The load test as Locust loads it, each time in a process of its own.

Importing Locust changes the whole process (gevent), so no test imports it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = ("--host", "http://127.0.0.1:9")


def locust(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """``locust -f loadtest``, from an empty folder, as if from an installation."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest"), *options]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_locust_finds_one_user_and_executes_no_other_file(tmp_path: Path) -> None:
    """``-f loadtest`` executes every file without a leading underscore: there is only one."""
    listed = locust("--list", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split() == ["Available", "Users:", "EdgeKPI"]
    files = [path.name for path in (ROOT / "loadtest").rglob("*.py")]
    assert [name for name in files if not name.startswith("_")] == ["locustfile.py"]


def test_nothing_is_registered_twice(tmp_path: Path) -> None:
    """Also when Locust is told to execute the file twice."""
    twice = f"{ROOT / 'loadtest'},{ROOT / 'loadtest' / 'locustfile.py'}"
    result = locust("-f", twice, "--headless", *HERE, "--edgekpi-seed", "-1", folder=tmp_path)
    assert result.returncode == 23, result.stderr
    assert result.stderr.count("seed") == 1


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ((), ["--host is missing"]),
        (("--host", "http://203.0.113.7"), ["add --i-own-this-host 203.0.113.7"]),
        ((*HERE, "-u", "10"), ["-u and -r are not for this load test"]),
        ((*HERE, "--processes", "2", "--edgekpi-seed", "-1"), ["--edgekpi-seed: expected"]),
        (
            (*HERE, "--set", "measure.windo_s=1", "--set", "workload.attribution.rate_per_s=-5"),
            ["did you mean", "rate_per_s"],
        ),
    ],
)
def test_wrong_input_is_code_23_and_a_sentence(
    options: tuple[str, ...], problems: list[str], tmp_path: Path
) -> None:
    """Every problem on stderr, no traceback, nothing on stdout, no folder made."""
    result = locust("--headless", *options, folder=tmp_path)
    assert result.returncode == 23, result.stderr
    for problem in problems:
        assert problem in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
