"""The load test against a deployment that is not ours: mapped by the scenario's target alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.record import load
from reports.verdict import judge
from tests.loadtest.other_server import IDS

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
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
def other() -> Iterator[Callable[[], str]]:
    """Starts the other deployment and gives its URL."""
    started: list[subprocess.Popen[str]] = []

    def start() -> str:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "loadtest" / "other_server.py")],
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


def seen_by(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/seen") as answer:
        return dict(json.load(answer))


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
