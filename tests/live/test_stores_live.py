"""Real stores under a real server: what was accepted is kept, whoever is killed."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from reports.kpis import KPI_NAMES
from scenarios.journeys import load_population
from scenarios.loader import load
from tests.live.served import Served, pressing, serving, start
from tests.valkey import running_valkey

pytestmark = pytest.mark.live

KILLS = 20
CLIENTS = 8
UNDER_LOAD_S = 0.3
DRAINED_S = 30.0
UNLIMITED = ("--set", "ingest.rate_per_client_per_s=0")


def event(number: int) -> str:
    """One event of its own conversion."""
    return json.dumps(
        {
            "event_id": f"e{number}",
            "user_id": f"u{number}",
            "event_name": "touch",
            "utm_source": "google",
            "event_timestamp": "2026-01-31T12:00:00.000Z",
            "conversion_id": f"live-{number}",
        }
    )


@pytest.mark.parametrize("accept", ["d1", "queue"])
def test_what_was_accepted_survives_sigkill(tmp_path: Path, accept: str) -> None:
    """Twenty times killed under load: every event answered 202 is in D1 exactly once."""
    database = tmp_path / "edge.db"
    arguments = ("--d1", f"sqlite:{database}", "--set", f"ingest.accept={accept}", *UNLIMITED)
    numbers = itertools.count()
    accepted: list[int] = []

    def track(connection: http.client.HTTPConnection) -> None:
        number = next(numbers)
        if Served.ask(connection, "POST", "/track", event(number))[0] == 202:
            accepted.append(number)

    for kill in range(KILLS):
        before = len(accepted)
        with serving(tmp_path, *arguments) as server, pressing(server, CLIENTS, track):
            time.sleep(UNDER_LOAD_S)
            server.kill()
        assert len(accepted) > before, f"nothing was accepted before kill {kill}"
    with serving(tmp_path, *arguments) as server:
        wait_for(lambda: server.statistics()["queue"]["undelivered"] == 0)
    stored = Counter(stored_events(database))
    assert [number for number in accepted if stored[f"e{number}"] != 1] == []
    assert max(stored.values()) == 1


def stored_events(database: Path) -> list[str]:
    """The IDs of the live events in the database."""
    rows = apsw.Connection(str(database)).execute(
        "SELECT event_id FROM user_journeys WHERE conversion_id GLOB 'live-*'"
    )
    return [row[0] for row in rows]


def wait_for(done: Callable[[], bool]) -> None:
    """Look again until it is ``done``."""
    deadline = time.monotonic() + DRAINED_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_kv_may_die_and_come_back(tmp_path: Path) -> None:
    """Valkey killed and started again under load: no 5xx, D1 answers meanwhile, it is counted,
    and afterwards KV is used again."""
    conversions = load_population(load("smoke/tiny").data).conversions
    statuses: Counter[int] = Counter()
    numbers = itertools.count()

    def look(connection: http.client.HTTPConnection) -> None:
        conversion = conversions[next(numbers) % len(conversions)]
        path = f"/api/attribution/{conversion.conversion_id}?model=linear"
        statuses[Served.ask(connection, "GET", path)[0]] += 1

    with (
        running_valkey(tcp=True) as valkey,
        serving(tmp_path, "--kv", valkey.url, "--set", "l1.scope=request", *UNLIMITED) as server,
    ):
        with pressing(server, CLIENTS, look):
            time.sleep(1)
            assert server.statistics()["kv"]["read_errors"] == 0
            valkey.kill()
            time.sleep(1)
            valkey.start()
            back = server.statistics()
            time.sleep(1)
        ended = server.statistics()
        with valkey.client() as client:
            assert client.dbsize() > 0
    assert back["kv"]["read_errors"] > 0
    assert sum(statuses.values()) > 100
    assert set(statuses) == {200}
    assert ended["kv"]["read_errors"] - back["kv"]["read_errors"] < back["kv"]["read_errors"]


def test_a_load_test_measures_all_seven_kpis(tmp_path: Path) -> None:
    """Of a deployment on a real Valkey and a SQLite file, with the server's token."""
    with (
        running_valkey(tcp=True) as valkey,
        serving(
            tmp_path, "smoke/tiny", "--kv", valkey.url, "--d1", f"sqlite:{tmp_path / 'edge.db'}"
        ) as server,
    ):
        command = ("load", "smoke/tiny", "--host", server.url, "--out", "out", "--json", "--quiet")
        process = start(tmp_path, "edgekpi", *command, EDGEKPI_TOKEN="t")
        out, err = process.communicate(timeout=90)
    assert process.returncode in (0, 20, 21), err
    told = {kpi["name"]: kpi["value"] for kpi in json.loads(out)["kpis"]}
    assert [name for name in KPI_NAMES if told[name] is None] == []
