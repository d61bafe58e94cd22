"""Guard rails for a host that is not this machine, tried on one that is only said not to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.load_runs import LOADTEST, Server, last_line, play, record_in, seen_by

pytestmark = pytest.mark.live

FOREIGN = """
from loadtest import _foreign, _guard, _watch
_guard.Address.is_loopback = property(lambda self: False)
_foreign.CLIMB_S = 1.0
_watch.ERRORS_OVER_S = 1
"""
OWNED = ("--i-own-this-host", "127.0.0.1")


@pytest.fixture
def files(tmp_path: Path) -> str:
    """Locustfiles: one that makes every host foreign and the guard quick, and ours."""
    (tmp_path / "foreign.py").write_text(FOREIGN)
    return f"{tmp_path / 'foreign.py'},{LOADTEST}"


def test_a_foreign_host_is_refused_before_anything_is_sent(
    tmp_path: Path, server: Server, files: str
) -> None:
    """Without its name repeated: 23."""
    url = server("ok")
    code, _, err = play(tmp_path, url, files=files)
    assert (code, seen_by(url)["heads"]) == (23, [])
    assert "add --i-own-this-host 127.0.0.1" in err


def test_reads_only_after_a_climb_and_the_price_is_said_first(
    tmp_path: Path, server: Server, files: str
) -> None:
    """No event leaves; the first second sends half; one city is where it was seen from."""
    url = server("ok")
    code, out, err = play(tmp_path, url, *OWNED, files=files, EDGEKPI_TOKEN="t")
    record, heads = record_in(tmp_path), seen_by(url)["heads"]
    assert code == 0, out + err
    assert record.window.start_us == 1_000_000
    assert all(head.startswith("GET ") for head in heads)
    assert all(f"X-EdgeKPI-Run: {record.provenance['run_id']}" in head for head in heads)
    climbed = len(heads) - record.count("requests.attribution")
    assert climbed == pytest.approx(75, abs=35)
    assert "about 300 requests in 2 s, at most 150 a second" in err
    assert "writes: about 0 events" in err
    assert "cost: under $0.01" in err
    assert "only reads were sent" in out
    assert out.count("as seen from FRA") == 7


def test_events_are_sent_if_the_scenario_allows_writes(
    tmp_path: Path, server: Server, files: str
) -> None:
    """And the report says how to delete them."""
    url = server("ok")
    allowed = ("--set", "target.writes=allowed")
    _, out, err = play(tmp_path, url, *OWNED, *allowed, files=files)
    run_id, events = record_in(tmp_path).provenance["run_id"], seen_by(url)["events"]
    assert len(events) > 100
    assert all(event["event_id"].startswith(f"edgekpi-{run_id}-") for event in events)
    assert all(event["utm_source"].startswith("edgekpi-") for event in events)
    assert f"DELETE FROM user_journeys WHERE event_id LIKE 'edgekpi-{run_id}-%'" in out
    assert f"LIKE &#x27;edgekpi-{run_id}-%" in (tmp_path / "out" / "report.html").read_text()
    assert "writes: about 200 events, 2 of them touch a known conversion" in err


def test_errors_stop_the_run(tmp_path: Path, server: Server, files: str) -> None:
    """20, long before the plan's end, and the record is whole."""
    long = ("--set", "measure.window_s=500")
    code, out, _ = play(tmp_path, server("errors"), *OWNED, *long, files=files)
    record = record_in(tmp_path)
    assert code == 20
    assert last_line(out).startswith("20 alert all KPIs: the run stopped itself to spare the host")
    assert record.invalid == []
    assert 20 < int(record.provenance["requests_offered"]) < 1000


def test_the_platform_s_protection_stops_the_run_of_all_workers(
    tmp_path: Path, server: Server
) -> None:
    """22: it says nothing of the deployment; its answers are a class of their own."""
    long = ("--set", "measure.window_s=500", "--processes", "2")
    code, out, _ = play(tmp_path, server("limited"), *long)
    record = record_in(tmp_path)
    assert code == 22
    assert "the platform's own protection answered" in last_line(out)
    assert record.counts("failure.").keys() <= {"blocked: error 1015"}
    assert 100 < int(record.provenance["requests_offered"]) < 2000


def test_a_plan_over_the_budget_is_refused(tmp_path: Path, server: Server) -> None:
    """23, and nothing was sent."""
    url = server("ok")
    code, _, err = play(tmp_path, url, "--set", "target.max_requests=100")
    assert (code, seen_by(url)["heads"]) == (23, [])
    assert "the plan may send over 100 requests" in err


@pytest.mark.parametrize(
    ("mode", "code", "shown"),
    [
        ("ok", 0, ["layers: attribution by l1", "city: FRA", "memory: 31457280"]),
        ("errors", 20, ["status 500 (expected 200)"]),
        ("stall", 22, ["no answer: timeout"]),
    ],
)
def test_a_dry_run_by_locust_itself(
    tmp_path: Path, server: Server, mode: str, code: int, shown: list[str]
) -> None:
    """The same as by `edgekpi load`, with the code of the worst answer."""
    url = server(mode)
    quick = ("--dry-run", "--processes", "2", "--set", "client.timeout_s=0.5")
    actual, out, err = play(tmp_path, url, *quick, EDGEKPI_TOKEN="t0ken")
    assert actual == code, out + err
    assert all(text in out for text in shown)
    assert last_line(out).startswith(str(code))
    assert "t0ken" not in out + err
