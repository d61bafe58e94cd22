"""Real stores under a real server: what was accepted is kept, whoever is killed."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from reports.kpis import KPI_NAMES
from scenarios.journeys import load_population
from scenarios.loader import load
from tests.live.served import Served, pressing, serving, start
from tests.valkey import Valkey, running_valkey

pytestmark = pytest.mark.live

KILLS = 20
CLIENTS = 8
BETWEEN_KILLS = 30
PATIENCE_S = 60.0
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

    def one_life(enough: int) -> None:
        with serving(tmp_path, *arguments) as server, pressing(server, CLIENTS, track):
            wait_for(lambda: len(accepted) >= enough)
            server.kill()

    for _ in range(KILLS):
        one_life(len(accepted) + BETWEEN_KILLS)
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
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kv_of(server: Served) -> dict[str, Any]:
    """What the server counts of its KV."""
    told: dict[str, Any] = server.statistics()["kv"]
    return told


def reads(server: Served, of: str) -> float:
    """One number of the KV reads in ``/metrics``."""
    (line,) = (line for line in server.get("/metrics").splitlines() if line.startswith(of))
    return float(line.split()[1])


def kv_is(server: Served) -> str:
    """KV as ``/readyz`` tells it."""
    told: str = json.loads(server.get("/readyz"))["kv"]
    return told


def hits(valkey: Valkey) -> int:
    """How many keys Valkey has found since its start."""
    with valkey.client() as client:
        found: int = client.info("stats")["keyspace_hits"]
    return found


@pytest.mark.parametrize(
    ("leave", "return_"), [(Valkey.kill, Valkey.start), (Valkey.hang, Valkey.go_on)]
)
def test_kv_may_leave_and_come_back(
    tmp_path: Path, leave: Callable[[Valkey], None], return_: Callable[[Valkey], None]
) -> None:
    """Valkey killed, or stopped so that it hangs, under load: no 5xx and no answer to another's
    question; D1 answers meanwhile, which is counted; few look-ups wait; then KV is used again."""
    conversions = load_population(load("smoke/tiny").data).conversions
    answers: Counter[tuple[int, bool]] = Counter()
    numbers = itertools.count()

    def wait_for_answers() -> None:
        enough = answers.total() + 200
        wait_for(lambda: answers.total() >= enough)

    def look(connection: http.client.HTTPConnection) -> None:
        asked = conversions[next(numbers) % len(conversions)].conversion_id
        status, body = Served.ask(connection, "GET", f"/api/attribution/{asked}?model=linear")
        answers[status, json.loads(body)["conversion_id"] == asked] += 1

    with (
        running_valkey(tcp=True) as valkey,
        serving(tmp_path, "--kv", valkey.url, "--set", "l1.scope=request", *UNLIMITED) as server,
    ):
        with pressing(server, CLIENTS, look):
            wait_for_answers()
            assert kv_of(server)["read_errors"] == 0
            leave(valkey)
            wait_for(lambda: kv_of(server)["circuit"] == "open")
            wait_for_answers()
            assert "(circuit " in kv_is(server)
            assert kv_of(server)["read_errors"] > 100
            return_(valkey)
            wait_for(lambda: kv_is(server) == "ok")
            while_away, found = kv_of(server), hits(valkey)
            wait_for_answers()
            wait_for(lambda: hits(valkey) > found)
        assert kv_of(server) == while_away
        series = 'edgekpi_kv_seconds_{}{{{}operation="get"}}'
        at_once = reads(server, series.format("bucket", 'le="0.2",'))
        assert reads(server, series.format("count", "")) - at_once <= 2 * CLIENTS
    assert set(answers) == {(200, True)}


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
