"""Runs of the load test in processes of their own, against a small server, and what they left."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports.record import RunRecord, load

ROOT = Path(__file__).parents[2]
LOADTEST = ROOT / "loadtest"
SHORT = (
    *("--scenario", "smoke/tiny", "--set", "measure.warmup_s=0.5", "--set", "measure.window_s=1.5"),
    *("--set", "workload.attribution.rate_per_s=150", "--set", "workload.tracking.rate_per_s=100"),
)

Server = Callable[[str], str]
"""Starts the fake server in a mode and gives its URL."""


def launch(
    folder: Path, url: str, *options: str, files: str = str(LOADTEST), **environment: str
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", files, "--host", url, *SHORT, *options]
    given = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.Popen(
        [*command, "--edgekpi-out", str(folder / "out")],
        cwd=folder,
        env=given | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def play(folder: Path, url: str, *options: str, **given: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one headless run."""
    process = launch(folder, url, "--headless", *options, **given)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def seen_by(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/seen") as answer:
        return dict(json.load(answer))


def record_in(folder: Path) -> RunRecord:
    return load(folder / "out")


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def lost(record: RunRecord) -> list[str]:
    """Why a run is not valid, but for reasons that a busy machine can have."""
    return [reason for reason in record.invalid if not re.search("late|of a core", reason)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def get(url: str) -> str:
    """The body of an answer. Raises ``OSError`` while nobody is there."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
