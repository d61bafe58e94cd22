"""Runs the command line in process, from a folder with one small scenario in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgekpi
from tests.cli.ran import Ran, Run

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to stand in, with ``small.yaml`` as its only file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("check", ...)``: one command, to its end."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = edgekpi.main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, capsys.readouterr())

    return call
