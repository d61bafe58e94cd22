"""Distributed runs: every request once, no sample lost, and a lost worker is noticed."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from reports import hlog
from reports.record import ROUTES, RunRecord
from tests.live.load_runs import (
    Server,
    free_port,
    last_line,
    launch,
    lost,
    play,
    record_in,
    seen_by,
)

pytestmark = pytest.mark.live


def counted(record: RunRecord) -> int:
    return sum(record.pooled(f"latency.{route}.intended")[0].count for route in ROUTES)


def logged(folder: Path) -> list[int]:
    """How many latencies each generator's log holds."""
    logs = [hlog.read(path) for path in sorted((folder / "out").glob("latency-*.hlog"))]
    return [sum(log[f"{route}.intended"].count for route in ROUTES) for log in logs]


def test_slow_answers_at_the_end_are_waited_for(tmp_path: Path, server: Server) -> None:
    """Requests of 2 s in two processes, with Locust's own time to stop: none is lost."""
    url = server("slow")
    more = ("--processes", "2", "--stop-timeout", "10", "--set", "client.timeout_s=5")
    _, out, err = play(tmp_path, url, *more)
    record = record_in(tmp_path)
    assert lost(record) == [], out + err
    numbers = [
        int(number)
        for head in seen_by(url)["heads"]
        for number in re.findall(r"X-EdgeKPI-Number: (\d+)", head)
    ]
    assert sorted(numbers) == list(range(len(numbers)))
    assert record.provenance["requests_answered"] == len(numbers)
    assert record.count("errors.part") == 0
    assert counted(record) == sum(logged(tmp_path)) == record.count("errors.total")
    assert min(logged(tmp_path)) > 0.4 * counted(record)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker_makes_the_run_not_valid(tmp_path: Path, server: Server) -> None:
    """SIGKILL in mid-run: 22, the worker is named, and the other's samples are on record."""
    more = ("--headless", "--processes", "2", "--set", "measure.window_s=600")
    process = launch(tmp_path, server("ok"), *more)
    assert process.stderr is not None
    while "of 600.5 s" not in process.stderr.readline():
        assert process.poll() is None
    os.kill(children_of(process.pid)[1], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    record = record_in(tmp_path)
    assert process.returncode == 22, out + err
    assert re.search(r"worker \d was lost about \d+ s after the start", record.invalid[0])
    assert record.count("errors.total") > 100
    assert last_line(out).startswith("22 not valid")
    assert "Traceback" not in err


def test_a_master_and_two_workers_give_what_one_process_gives(
    tmp_path: Path, server: Server
) -> None:
    """Started separately: the same requests, none twice, and the same KPIs within noise."""
    url, port = server("ok"), str(free_port())
    alone, parts = tmp_path / "alone", tmp_path / "parts"
    alone.mkdir()
    parts.mkdir()
    workers = [
        launch(parts, url, "--worker", "--master-port", port, "--loglevel", "WARNING")
        for _ in range(2)
    ]
    try:
        more = ("--master", "--master-bind-port", port, "--expect-workers", "2")
        _code, out, err = play(parts, url, *more, EDGEKPI_TOKEN="t")
        for worker in workers:
            assert worker.wait(20) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    apart = record_in(parts)
    assert lost(apart) == [], out + err
    play(alone, server("ok"), EDGEKPI_TOKEN="t")
    together = record_in(alone)
    assert (apart.provenance["generators"], together.provenance["generators"]) == (2, 1)
    assert apart.count("memory") == 1
    for name in ("errors.total", "errors.part", "cache.part", "cache.total"):
        assert apart.count(name) == together.count(name)
    for series in ("latency.tracking.intended", "latency.attribution.intended"):
        both = [record.pooled(series)[0].percentile(0.5) or 0 for record in (apart, together)]
        assert abs(both[0] - both[1]) < 20_000
