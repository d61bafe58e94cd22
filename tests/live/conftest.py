"""The fake server of the load tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.live.load_runs import ROOT, Server


@pytest.fixture
def server() -> Iterator[Server]:
    """Starts the fake server in a mode and gives its URL."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str) -> str:
        fake = ROOT / "tests" / "loadtest" / "fake_server.py"
        process = subprocess.Popen(
            [sys.executable, str(fake), mode],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{process.stdout.readline().strip()}"

    yield start
    for process in started:
        process.kill()
        process.communicate()
