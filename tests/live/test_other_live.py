"""The load test against a deployment that is not ours: mapped by the scenario's target alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.record import load
from reports.verdict import judge
from tests.live.load_runs import ROOT, Server, last_line, play, seen_by
from tests.loadtest.other_server import IDS

pytestmark = pytest.mark.live

SECRETS = {"SHOP_KEY": "k3y", "SIGNING_KEY": "s3cret"}
SCENARIO = """
name: shop
measure: {{warmup_s: 0.5, window_s: 1.5, cooldown_s: 0.3}}
workload:
  attribution: {{rate_per_s: 100}}
  tracking: {{rate_per_s: 100}}
population: {{csv: orders.csv, conversion_id: order}}
kpis: {{required: [tracking_latency_p95, attribution_latency_p95]}}
target:
  headers: {{X-Time: "{{timestamp_s}}"}}
  attribution:
    path: "/v1/paths/{{conversion_id}}"
    headers: {{X-Key: {{env: SHOP_KEY}}}}
  tracking:
    host: {tracking}
    path: /collect
    expect: [204]
    body_form: {{id: "{{event_id}}", from: "{{utm_source}}", who: "{{user_id}}"}}
    headers:
      X-Signature: {{hmac_sha256: "{{timestamp_s}}.{{body}}", secret_env: SIGNING_KEY}}
"""


@pytest.fixture
def other(start_server: Callable[..., str]) -> Callable[[], str]:
    """Starts the other deployment and gives its URL."""
    return lambda: start_server("other_server.py")


def ask(
    folder: Path, api: str, tracking: str, *options: str, ids: list[str] = IDS
) -> subprocess.CompletedProcess[str]:
    """One load test by ``edgekpi load``, its record in ``folder/out``."""
    (folder / "shop.yaml").write_text(SCENARIO.format(tracking=tracking))
    (folder / "orders.csv").write_text("\n".join(["order", *ids]) + "\n")
    command = [sys.executable, "-m", "edgekpi", "load", "shop.yaml", "--host", api, *options]
    return subprocess.run(
        [*command, "--out", "out"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder), **SECRETS},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_mapped_deployment_is_judged_by_its_latencies(
    tmp_path: Path, other: Callable[[], str]
) -> None:
    """Two hosts, signed forms, own IDs; what it does not tell is no data and says what to add."""
    api, tracking = other(), other()
    done = ask(tmp_path, api, tracking)
    assert done.returncode == 0, done.stdout + done.stderr
    record = load(tmp_path / "out")
    words = {result.name: (result.verdict, result.advice) for result in judge(record).kpis}
    assert words["tracking_latency_p95"][0] == words["attribution_latency_p95"][0] == "pass"
    assert words["error_ratio"][0] == "pass"
    for name in ("cache_hit_ratio", "d1_query_p95", "worker_cpu_p95"):
        word, advice = words[name]
        assert (word, "docs/emit-headers.md" in advice) == ("no-data", True)
    for name in ("queue_processing_p95", "worker_memory_max"):
        word, advice = words[name]
        assert (word, "/api/performance/stats" in advice) == ("no-data", True)
    assert record.counts("failure.") == {}

    asked, sent = seen_by(api), seen_by(tracking)
    assert all(head.startswith("GET /v1/paths/order-") for head in asked["heads"])
    assert asked["forms"] == []
    assert len(sent["forms"]) == len(sent["heads"]) > 100
    run_id = record.provenance["run_id"]
    assert all(form["id"][0].startswith(f"edgekpi-{run_id}-") for form in sent["forms"])
    assert all(form["from"][0].startswith("edgekpi-") for form in sent["forms"])
    assert all(f"X-EdgeKPI-Run: {run_id}" in head for head in asked["heads"] + sent["heads"])

    everywhere = done.stdout + done.stderr
    everywhere += "".join(path.read_text() for path in (tmp_path / "out").glob("*.[jh]*"))
    assert not any(secret in everywhere for secret in SECRETS.values())


def test_ids_that_are_not_there_are_wrong_input(tmp_path: Path, other: Callable[[], str]) -> None:
    """Two of the hundred are unknown there: over 1 % of the look-ups, 23 with what to do."""
    api = other()
    done = ask(tmp_path, api, api, ids=[*IDS[:98], "order-900", "order-901"])
    assert done.returncode == 23, done.stdout + done.stderr
    last = last_line(done.stdout)
    assert last.startswith("23 wrong input all KPIs:")
    assert "look-ups asked for IDs that are not there (404)" in last
    assert "population.csv" in last


def test_a_dry_run_shows_what_would_be_recorded_and_no_secret(
    tmp_path: Path, other: Callable[[], str]
) -> None:
    """One request of each kind, what they carry, what came back, what is missing; no record."""
    api, tracking = other(), other()
    done = ask(tmp_path, api, tracking, "--dry-run")
    shown = done.stdout
    assert done.returncode == 0, shown + done.stderr
    assert last_line(shown).startswith("0 dry run: 3 requests")
    assert f"look-up, to {api}:\n  > GET /v1/paths/order-" in shown
    assert f"event, to {tracking}:\n  > POST /collect HTTP/1.1" in shown
    assert "  > X-Key: ***\n" in shown
    assert shown.count("  > X-Signature: ***\n") == 2
    assert shown.count("< status 204, ") == 2
    assert "< layers: unknown, there is no Cache-Status" in shown
    assert "statistics (/api/performance/stats):\n  none, EDGEKPI_TOKEN is not set" in shown
    assert "DELETE FROM user_journeys WHERE event_id LIKE 'edgekpi-dry-" in shown
    assert not any(secret in shown + done.stderr for secret in SECRETS.values())
    assert len(seen_by(api)["heads"]) == 1
    assert len(seen_by(tracking)["forms"]) == 2
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_dry_run_that_meets_something_else_is_wrong_input(
    tmp_path: Path, other: Callable[[], str]
) -> None:
    """Here an ID that is not there; 23 with the status."""
    api = other()
    done = ask(tmp_path, api, api, "--dry-run", ids=["order-900"])
    assert done.returncode == 23, done.stdout + done.stderr
    assert "< status 404, " in done.stdout
    assert "status 404 (expected 200)" in done.stdout
    assert last_line(done.stdout).startswith("23 wrong input")


def test_statistics_stand_in_for_answers_that_tell_nothing(tmp_path: Path, server: Server) -> None:
    """Look-ups, D1 and CPU are judged by them; a note says what they are about."""
    code, out, err = play(tmp_path, server("silent"), EDGEKPI_TOKEN="t")
    record = load(tmp_path / "out")
    assert code == 0, out + err
    assert record.count("cache.unknown") == 0
    assert record.count("cache.part") == record.count("cache.total") > 200
    assert record.pooled("cpu")[0].count == record.pooled("d1.request")[0].count > 200
    assert "look-ups, CPU times, D1 times: no answer told them" in out
