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
from tests.loadtest.setups import HERE, setup


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


def test_a_foreign_host_has_the_climb_as_its_warm_up(foreign: str) -> None:
    """30 s at least; a longer one stays, and so it is with this machine's."""
    owned = {"scenario": "smoke/tiny", "i_own_this_host": ["foreign.test"]}
    assert setup(foreign, **owned).scenario.measure.warmup_s == 30
    longer = setup(foreign, **owned, overrides=["measure.warmup_s=45"])
    assert longer.scenario.measure.warmup_s == 45


def test_events_go_to_a_foreign_host_if_writes_are_allowed(foreign: str) -> None:
    """Then they count as well."""
    prepared = setup(
        foreign,
        scenario="smoke/tiny",
        overrides=["target.writes=allowed"],
        i_own_this_host=["foreign.test"],
    )
    assert prepared.scenario.workload.tracking.rate_per_s == 100
    assert (prepared.required, prepared.notes) == (list(KPI_NAMES), [])


def test_a_posted_look_up_may_be_a_write(foreign: str) -> None:
    """On a foreign host it needs the same word; on this machine it does not."""
    posted = ["target.attribution={method: POST, path: /graphql, body_text: hi}"]
    owned = {"overrides": posted, "i_own_this_host": ["foreign.test"]}
    with pytest.raises(Refused, match=r"say target\.writes: allowed"):
        setup(foreign, **owned)
    allowed = [*posted, "target.writes=allowed"]
    assert setup(foreign, overrides=allowed, i_own_this_host=["foreign.test"])


MANY = "measure.window_s=3000"


def test_a_plan_over_the_budget_is_refused() -> None:
    """Any number is allowed here, unless the scenario says otherwise; redirects count."""
    for allowed in ([MANY], ["target.max_requests=900"]):
        assert setup(overrides=allowed)
    for over in (
        [MANY, "target.max_requests=99999"],
        ["target.max_requests=900", "target.follow_redirects=1"],
    ):
        with pytest.raises(Refused, match="the plan may send over"):
            setup(overrides=over)


def test_a_closed_load_has_no_budget_that_could_be_held(foreign: str) -> None:
    """So it goes to this machine only: elsewhere there always is one."""
    with pytest.raises(Refused, match="a closed load has no plan to count"):
        setup(foreign, closed=3, i_own_this_host=["foreign.test"])


def test_a_foreign_host_has_a_budget_of_its_own(foreign: str) -> None:
    """100,000 requests, if the scenario says nothing."""
    with pytest.raises(Refused, match="the plan may send over 100,000"):
        setup(foreign, overrides=[MANY], i_own_this_host=["foreign.test"])
    enough = [MANY, "target.max_requests=160000"]
    assert setup(foreign, overrides=enough, i_own_this_host=["foreign.test"])


def test_the_host_of_a_route_is_judged_as_well(foreign: str) -> None:
    """Its name must be repeated too, and its problem names its field."""
    own = ["target.tracking={host: 'http://collect.test'}"]
    with pytest.raises(Refused, match=r"collect\.test is not this machine"):
        setup(foreign, overrides=own, i_own_this_host=["foreign.test"])
    both = setup(foreign, overrides=own, i_own_this_host=["foreign.test", "collect.test"])
    assert {name: target.name for name, target in both.targets.items()} == {
        "attribution": "foreign.test",
        "tracking": "collect.test",
    }


def test_a_host_of_a_route_that_cannot_be_used_is_named_by_its_field() -> None:
    """As --host is by its option."""
    with pytest.raises(Refused, match=r"target\.tracking\.host 'http://a:b'"):
        setup(overrides=["target.tracking={host: 'http://a:b'}"])


def test_our_own_emulated_server_is_asked_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the scenario says of another deployment, which nobody is to meet by accident."""
    monkeypatch.setenv("EDGEKPI_KIND", "emulated")
    other = ["target.attribution={host: 'http://shop.test', path: /x}", "target.auth={env: NONE}"]
    prepared = setup(overrides=[*other, "population={csv: no-such.csv}"])
    assert prepared.targets["attribution"].url == HERE
    assert prepared.mapped.attribution.path.startswith("/api/attribution/")
    assert prepared.ids is None


def test_a_file_of_ids_lies_beside_the_scenario(tmp_path: Path) -> None:
    """Wherever the program was started."""
    (tmp_path / "mine.yaml").write_text("name: mine\npopulation: {csv: ids.csv}\n")
    with pytest.raises(Refused, match=r"ids\.csv cannot be read"):
        setup(scenario=str(tmp_path / "mine.yaml"))
    (tmp_path / "ids.csv").write_text("conversion_id\na\nb\n")
    prepared = setup(scenario=str(tmp_path / "mine.yaml"))
    assert [conversion.conversion_id for conversion in prepared.ids or ()] == ["a", "b"]
