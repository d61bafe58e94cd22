"""``edgekpi plan``: what a load test would send, for other load generators."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np

from scenarios.journeys import load_population
from scenarios.loader import load
from scenarios.plan import TRACKING, Plan
from tests.cli.ran import Run

MAPPED = """\
target:
  attribution:
    path: /v2/lookup?id={conversion_id}
    headers:
      authorization: {env: LOOKUP_TOKEN, prefix: "Bearer "}
"""


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_request_of_the_plan_is_a_line(folder: Path, run: Run) -> None:
    """At its time, on its route, with the path or the event that the load test would send."""
    ran = run("plan", "small.yaml")
    rows = rows_of(ran.out)
    scenario = load("small.yaml")
    plan = Plan(scenario, scenario.seed, len(load_population(scenario.data).conversions))
    intended = np.concatenate([chunk.intended_us for chunk in plan])
    routes = np.concatenate([chunk.route for chunk in plan])
    assert ran.code == 0
    assert [int(row["number"]) for row in rows] == list(range(len(intended)))
    assert [int(row["intended_us"]) for row in rows] == intended.tolist()
    assert [row["route"] == "tracking" for row in rows] == (routes == TRACKING).tolist()
    event = next(row for row in rows if row["route"] == "tracking")
    assert (event["method"], event["path"]) == ("POST", "/track")
    assert json.loads(event["body"])["event_id"] == f"edgekpi-plan-{event['number']}"
    look_up = next(row for row in rows if row["route"] == "attribution")
    assert look_up["path"].startswith("/api/attribution/c-")


def test_a_file_has_the_same_bytes_each_time(folder: Path, run: Run) -> None:
    """Equal plans, equal files; another seed, another plan."""
    assert run("plan", "small.yaml", "--csv", "a/one.csv").out == ""
    run("plan", "small.yaml", "--csv", "two.csv")
    run("plan", "small.yaml", "--csv", "three.csv", "--seed", "9")
    one, two, three = (Path(name).read_bytes() for name in ("a/one.csv", "two.csv", "three.csv"))
    assert one == two != three


def test_a_mapped_deployment_is_asked_in_its_own_words(folder: Path, run: Run) -> None:
    """And no secret is needed, since headers are left out."""
    (folder / "mapped.yaml").write_text((folder / "small.yaml").read_text() + MAPPED)
    ran = run("plan", "mapped.yaml")
    assert ran.code == 0, ran.err
    paths = {row["path"].partition("=")[0] for row in rows_of(ran.out) if row["method"] == "GET"}
    assert paths == {"/v2/lookup?id"}
