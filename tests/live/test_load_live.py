"""The load test against a small server of its own, over loopback and in real time."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path

import pytest

from reports.samples import load as load_samples
from tests.live.load_runs import (
    LOADTEST,
    Server,
    free_port,
    get,
    last_line,
    launch,
    play,
    record_in,
    seen_by,
)

pytestmark = pytest.mark.live


def test_a_good_server_gets_all_seven_kpis(tmp_path: Path, server: Server) -> None:
    """Client side, headers and statistics together; every planned request once, as planned."""
    url = server("ok")
    code, out, err = play(
        tmp_path, url, "--edgekpi-seed", "7", EDGEKPI_TOKEN="t", EDGEKPI_KIND="emulated"
    )
    record = record_in(tmp_path)
    assert code == 0, out + err
    assert last_line(out).startswith("0 pass")
    assert (record.kind, record.seed, record.invalid) == ("emulated", 7, [])
    assert record.count("memory") == 1
    assert record.pooled("queue.handling")[0].count > 0
    assert record.provenance["server_process_rss_bytes"] == 70 * 2**20
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000

    start, *events = seen_by(url)["events"]
    assert start["seed"] == 7
    heads = seen_by(url)["heads"]
    numbers = load_samples(tmp_path / "out" / "samples.npz").number.tolist()
    assert numbers == list(range(len(heads)))
    assert record.provenance["requests_offered"] == len(heads)
    ids = {event["event_id"] for event in events}
    assert len(ids) == len(events) > 0
    assert all(id_.startswith(f"edgekpi-{record.provenance['run_id']}-") for id_ in ids)


def test_the_same_seed_asks_the_same(tmp_path: Path, server: Server) -> None:
    """Paths, numbers and nodes are the plan's; only the run's name differs."""
    asked = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        url = server("ok")
        play(tmp_path / run, url, "--edgekpi-quiet")
        lines = [
            [line for line in head.splitlines() if "Run" not in line and "Host" not in line]
            for head in seen_by(url)["heads"]
        ]
        asked.append(sorted(lines))
    assert asked[0] == asked[1]


def test_all_errors_are_a_result(tmp_path: Path, server: Server) -> None:
    """A server that answers 500 fails by its error ratio: 20, not 22."""
    code, out, err = play(tmp_path, server("errors"), "--print-stats")
    assert code == 20
    assert "Locust's own table and files are approximate" in err
    assert last_line(out).startswith("20 alert error_ratio")
    assert record_in(tmp_path).counts("failure.").keys() == {"status 500"}


def test_a_server_killed_in_mid_run_is_a_result(tmp_path: Path, server: Server) -> None:
    """What was answered before and what failed after are both in the record."""
    code, out, _ = play(tmp_path, server("die"))
    record = record_in(tmp_path)
    assert code == 20
    assert "error_ratio" in last_line(out)
    assert record.invalid == []
    assert record.count("failure.connection") > 100
    assert record.provenance["requests_answered"] == 199


def test_a_server_that_was_never_there_is_no_result(tmp_path: Path) -> None:
    """Nobody ever answered: 22, and the record says so."""
    code, out, _ = play(tmp_path, "http://127.0.0.1:9")
    assert code == 22
    assert last_line(out).startswith("22 not valid")
    assert "nobody ever answered" in record_in(tmp_path).invalid[0]


def test_a_server_that_never_answers_is_no_result(tmp_path: Path, server: Server) -> None:
    """All requests time out, each counted; the run waits for the last of them."""
    code, _, _ = play(tmp_path, server("stall"), "--set", "client.timeout_s=0.5")
    record = record_in(tmp_path)
    assert code == 22
    assert record.count("failure.timeout") == record.count("errors.total") > 300


def test_no_request_is_no_result(tmp_path: Path, server: Server) -> None:
    """A plan so thin that nothing was due: 22, and a record that says what to change."""
    rates = ("workload.attribution.rate_per_s=0.001", "workload.tracking.rate_per_s=0.001")
    code, out, _ = play(tmp_path, server("ok"), "--set", rates[0], "--set", rates[1])
    assert code == 22
    assert last_line(out).startswith("22 not valid")
    assert "the plan has no request" in record_in(tmp_path).invalid[0]


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, "interrupted"), (15, "ended")])
def test_a_run_that_is_ended_keeps_its_record(
    tmp_path: Path, server: Server, number: int, reason: str
) -> None:
    """Ctrl-C and SIGTERM: 22, with what was seen so far, and no traceback."""
    process = launch(tmp_path, server("ok"), "--headless", "--set", "measure.window_s=600")
    assert process.stderr is not None
    assert "of 600.5 s" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    record = record_in(tmp_path)
    assert process.returncode == 22
    assert record.invalid[0].startswith(reason)
    assert record.count("errors.total") > 100
    assert last_line(out).startswith("22 not valid")
    assert "Traceback" not in err


EVIL = """
import sys, time
from locust import events
from gevent import monkey, sleep, spawn
import loadtest._finish
{}
"""
TURN_GREEN = """
@events.quitting.add_listener
def turn_green(environment, **kwargs):
    environment.process_exit_code = 0

@events.quit.add_listener
def leave(**kwargs):
    sys.exit(0)
"""
LISTENER = """
@events.request.add_listener
def crash(**kwargs):
    raise RuntimeError("a listener that is not ours")
"""
NO_RECORD = """
def crash(run):
    raise RuntimeError("a finaliser that fails")
loadtest._finish.finish = crash
"""
BLOCK = """
def block():
    while True:
        monkey.get_original("time", "sleep")(0.2)
        sleep(0.05)
events.test_start.add_listener(lambda **_: spawn(block))
"""


@pytest.mark.parametrize(
    ("evil", "mode", "code"),
    [
        (TURN_GREEN, "errors", 20),
        (LISTENER, "ok", 22),
        (NO_RECORD, "ok", 22),
        (BLOCK, "ok", 22),
    ],
)
def test_nothing_turns_red_into_green(
    tmp_path: Path, server: Server, evil: str, mode: str, code: int
) -> None:
    """A listener that leaves with 0, one that raises, a crash of ours, a generator that is late."""
    (tmp_path / "evil.py").write_text(EVIL.format(evil))
    files = f"{tmp_path / 'evil.py'},{LOADTEST}"
    actual, out, _ = play(tmp_path, server(mode), files=files)
    assert actual == code
    assert last_line(out).startswith(str(code))


def test_new_connections_are_new(tmp_path: Path, server: Server) -> None:
    """One a request; kept ones are far fewer."""
    for connections in ("new", "keep_alive"):
        url = server("ok")
        play(tmp_path, url, "--set", f"client.connections={connections}", "--edgekpi-quiet")
        seen = seen_by(url)
        asked, made = len(seen["heads"]), seen["connections"] - 1
        assert made == asked if connections == "new" else made < asked / 5


def test_quiet_says_nothing(tmp_path: Path, server: Server) -> None:
    """Whoever started it reads the record."""
    code, out, err = play(tmp_path, server("ok"), "--edgekpi-quiet", "--loglevel", "WARNING")
    assert (out, err) == ("", "")
    assert (tmp_path / "out" / "run.json").exists()
    assert code == 21  # no token: the queue and memory are not measured


def test_the_web_ui_plays_the_plan_too(tmp_path: Path, server: Server) -> None:
    """Started from the UI (here at once): our tab is there, and at the end the verdict."""
    port = free_port()
    ui = ("--autostart", "--autoquit", "2", "--web-host", "127.0.0.1", "--web-port", str(port))
    process = launch(tmp_path, server("ok"), *ui, "--set", "measure.window_s=3")
    told = rows = ""
    while process.poll() is None and "attribution" not in rows:
        time.sleep(0.2)
        with contextlib.suppress(OSError, KeyError):
            told = get(f"http://127.0.0.1:{port}/")
            rows = json.dumps(
                json.loads(get(f"http://127.0.0.1:{port}/stats/requests"))["extended_stats"]
            )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 21, out + err
    assert last_line(out).startswith("21 no-data")
    assert "the tab Statistics is approximate" in told
    assert '"p95"' in rows
