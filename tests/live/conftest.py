"""The servers of the load tests, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.live.load_runs import ROOT, Server


@pytest.fixture
def start_server() -> Iterator[Callable[..., str]]:
    """Starts a script of ``tests/loadtest`` that prints its port, and gives its URL."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> str:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "loadtest" / script), *arguments],
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


@pytest.fixture
def server(start_server: Callable[..., str]) -> Server:
    """Starts the fake server in a mode and gives its URL."""
    return lambda mode: start_server("fake_server.py", mode)
