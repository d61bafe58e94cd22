"""From options to a checked setup, or to every reason against it."""

from __future__ import annotations

import socket
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from loadtest._guard import Refused
from loadtest._options import unusable
from reports.kpis import KPI_NAMES
from tests.loadtest.setups import setup


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a host that is not this machine."""
    row = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.7", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [row])
    return "http://foreign.test"


def test_no_scenario_means_reads_and_what_reads_can_show() -> None:
    """Whoever names no scenario has not agreed to writes."""
    prepared = setup()
    assert prepared.scenario.name == "tiny"
    assert prepared.scenario.workload.tracking.rate_per_s == 0
    assert prepared.required == ["cache_hit_ratio", "attribution_latency_p95", "worker_cpu_p95"]


def test_a_named_scenario_is_taken_whole() -> None:
    """Its events and its required KPIs stay, also for smoke/tiny itself."""
    prepared = setup(scenario="smoke/tiny")
    assert prepared.scenario.workload.tracking.rate_per_s > 0
    assert prepared.required == list(KPI_NAMES)
    assert prepared.out == Path("reports/out/tiny-load")


def test_run_time_is_the_window_and_leaves_the_warm_up() -> None:
    """-t 7s sets window_s over any --set; the warm-up comes before it as in the scenario."""
    plain = setup().scenario.measure
    timed = setup(window_s=7, overrides=["measure.window_s=3"]).scenario.measure
    assert (timed.window_s, timed.warmup_s) == (7, plain.warmup_s)


def test_the_seed_option_wins_over_the_scenario() -> None:
    """And a seed that no generator takes is refused."""
    assert setup().seed == setup().scenario.seed
    assert setup(edgekpi_seed=0).seed == 0
    with pytest.raises(Refused, match="seed"):
        setup(edgekpi_seed=-1)


def test_all_problems_of_a_scenario_come_at_once() -> None:
    """Two overrides, two sentences."""
    with pytest.raises(Refused) as refusal:
        setup(overrides=["measure.windo_s=1", "workload.attribution.rate_per_s=-5"])
    assert len(refusal.value.problems) == 2


def test_a_foreign_host_gets_reads_only(foreign: str) -> None:
    """No events, whatever --set says; what needs them does not count, and a note says so."""
    prepared = setup(
        foreign,
        scenario="smoke/tiny",
        overrides=["workload.tracking.rate_per_s=50"],
        i_own_this_host=["foreign.test"],
    )
    assert prepared.scenario.workload.tracking.rate_per_s == 0
    assert {"tracking_latency_p95", "queue_processing_p95"}.isdisjoint(prepared.required)
    assert "only reads were sent" in prepared.notes[0]
    assert "tracking_latency_p95" in prepared.notes[0]


def test_a_foreign_host_without_a_kpi_left_is_refused(foreign: str) -> None:
    """A run that could show nothing is not made."""
    with pytest.raises(Refused, match="no KPI is left"):
        setup(
            foreign,
            overrides=["kpis.required=[tracking_latency_p95]"],
            i_own_this_host=["foreign.test"],
        )


def test_kind_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `edgekpi load` on its own server says "emulated"; an empty token is none."""
    monkeypatch.delenv("EDGEKPI_KIND", raising=False)
    monkeypatch.setenv("EDGEKPI_TOKEN", "")
    assert (setup().kind, setup().token) == ("live", None)
    monkeypatch.setenv("EDGEKPI_KIND", "emulated")
    monkeypatch.setenv("EDGEKPI_TOKEN", "secret")
    assert (setup().kind, setup().token) == ("emulated", "secret")


@pytest.mark.parametrize("given", [{"num_users": 10}, {"spawn_rate": 1.0}])
def test_what_the_plan_decides_cannot_be_given(given: dict[str, Any]) -> None:
    """One sentence for the contradiction; none without one, however many processes there are."""
    options = Namespace(num_users=None, spawn_rate=None, processes=2, master=True, worker=True)
    assert unusable(options) == []
    vars(options).update(given)
    assert len(unusable(options)) == 1
