"""Each bundled scenario shows what its comments say it shows."""

from __future__ import annotations

from math import exp, log

import pytest

from reports.details import timing
from reports.record import RunRecord
from reports.stability import loads
from reports.verdict import judge
from scenarios.loader import load
from sim.simulate import simulate

REPLICATIONS = 3


def run(name: str, *overrides: str) -> RunRecord:
    return simulate(load(name, overrides), 1, REPLICATIONS).record


def not_met(record: RunRecord) -> set[str]:
    """The KPIs whose targets are not met."""
    return {result.name for result in judge(record).kpis if result.verdict in ("missed", "alert")}


def lookups(record: RunRecord, layer: str) -> int:
    return record.count(f"cache.attribution.{layer}")


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["steady/baseline", "steady/as_written", "smoke/tiny"])
def test_all_targets_are_met(name: str) -> None:
    """With all their seconds."""
    assert judge(run(name)).word == "pass"


@pytest.mark.parametrize(
    ("name", "kpi", "mended"),
    [
        ("negative/short_ttl", "cache_hit_ratio", "kv.expiration_ttl_s.attribution=3600"),
        ("negative/no_index", "d1_query_p95", "d1.drop_indexes=[]"),
    ],
)
def test_a_negative_scenario_misses_for_its_one_reason(name: str, kpi: str, mended: str) -> None:
    """The KPI it names and no other; with the reason gone, none."""
    assert not_met(run(name)) == {kpi}
    assert not_met(run(name, mended)) == set()


def test_accepted_by_the_queue_tracking_alone_misses_its_target() -> None:
    """The send alone has P95 165 ms by its law; accepted with the row in D1 nothing misses."""
    short = "measure.window_s=10"
    record = run("steady/accept_by_queue", short)
    assert not_met(record) == {"tracking_latency_p95"}
    (p95_ms,) = [each.value for each in judge(record).kpis if each.name == "tracking_latency_p95"]
    assert p95_ms is not None
    assert p95_ms > 60 * exp(1.6449 * log(250 / 60) / 2.3263)
    assert not_met(run("steady/accept_by_queue", short, "ingest.accept=d1")) == set()


def test_as_written_l1_answers_nothing_and_nobody_joins() -> None:
    """Every look-up goes to KV; the hit ratio is that of the baseline, as KV alone decides it."""
    short = "measure.window_s=10"
    as_written, baseline = run("steady/as_written", short), run("steady/baseline", short)
    assert (lookups(as_written, "l1"), lookups(as_written, "joined")) == (0, 0)
    assert lookups(baseline, "l1") > lookups(baseline, "kv")
    assert as_written.count("cache.part") == pytest.approx(baseline.count("cache.part"), rel=1e-3)


def test_as_written_a_cold_start_asks_d1_more_than_once_for_a_key() -> None:
    """Without single-flight, look-ups of a hot key that miss together all read D1."""
    hot = [
        "measure={start: cold, warmup_s: 0, window_s: 2}",
        "workload.attribution={rate_per_s: 300, zipf_s: 1.5}",
        "data.max_paths=200",
    ]
    asked = run("steady/as_written", *hot)
    shared = run("steady/as_written", *hot, "cache.single_flight=true")
    assert lookups(shared, "joined") > 0
    assert lookups(asked, "miss") > 1.1 * lookups(shared, "miss")


def results(record: RunRecord) -> dict[str, str]:
    return {result.name: result.verdict for result in judge(record).kpis}


def test_in_three_regions_replicas_answer_nearby() -> None:
    """Reads of the far nodes take less with sessions than without, and some answers are stale."""
    short = ["measure.window_s=30", "kv.expiration_ttl_s.attribution=60"]
    near = run("steady/three_regions", *short)
    far = run("steady/three_regions", *short, "d1.session=none")
    trips = [record.pooled("d1.request.round_trip")[0].sum_us for record in (near, far)]
    assert trips[0] < 0.97 * trips[1]
    assert near.pooled("staleness.age")[0].count > 10
    assert near.count("kv.reads.regional") > 0


def test_in_an_outage_of_kv_look_ups_go_to_d1_and_succeed() -> None:
    """No request fails; more look-ups miss than without it, and their refreshes are given up."""
    short = ["measure={warmup_s: 2, window_s: 14}", "kv.expiration_ttl_s.attribution=300"]
    out = "faults=[{kind: kv_outage, from_s: 4, for_s: 10}]"
    broken = run("faults/kv_outage", *short, out)
    whole = run("faults/kv_outage", *short, "faults=[]")
    assert broken.count("errors.part") == 0
    assert broken.count("kv.read_errors") > 100
    assert lookups(broken, "miss") > 1.3 * lookups(whole, "miss")


def test_a_stall_of_d1_is_felt_by_events_alone() -> None:
    """Tracking is beyond its alert, attribution is not; nothing fails."""
    short = ["measure={warmup_s: 2, window_s: 12}"]
    found = run("faults/d1_stall", *short, "faults=[{kind: d1_stall, from_s: 5, for_s: 3}]")
    words = results(found)
    assert words["tracking_latency_p95"] == "alert"
    assert words["attribution_latency_p95"] not in ("missed", "alert")
    assert found.count("errors.part") == 0


def test_hot_keys_wait_for_their_turns() -> None:
    """Queue processing misses its target, many answers are stale, the hit ratio does not tell."""
    found = run("stress/hot_key", "measure={warmup_s: 2, window_s: 14}")
    words = results(found)
    assert words["queue_processing_p95"] in ("missed", "alert")
    assert words["cache_hit_ratio"] not in ("missed", "alert")
    assert found.pooled("staleness.age")[0].count > 0.3 * found.count("requests.attribution")


def test_too_many_events_for_d1_are_named() -> None:
    """Tracking fails and has no latency; look-ups hit; the thread that is full is found, and no
    other is."""
    found = run("stress/d1_overload", "measure.window_s=2")
    words = results(found)
    assert words["tracking_latency_p95"] == words["error_ratio"] == "alert"
    assert words["cache_hit_ratio"] == "pass"
    (tracking,) = [each for each in judge(found).kpis if each.name == "tracking_latency_p95"]
    assert tracking.value is None
    asked = {load.key: load.value for load in loads(found)}
    assert asked.pop("d1") > 1.2
    assert max(asked.values()) < 0.5
    assert timing(found, "SQL", "d1.request.sql").p95_ms == pytest.approx(0.21, rel=0.05)


def test_a_backlog_of_the_queue_is_named_though_no_kpi_waits() -> None:
    """All targets are met but for the length of the window; three consumers keep up."""
    short = "measure.window_s=10"
    found = run("stress/one_consumer", short)
    assert not_met(found) == set()
    assert judge(found).word == "alert"
    assert "whatever they show, each consumer of the queue is asked" in judge(found).last_line
    assert timing(found, "stored", "queue.accepted_to_stored").p95_ms is None
    three = run("stress/one_consumer", short, "queue.max_concurrency=3")
    assert judge(three).word == "pass"
    assert timing(three, "stored", "queue.accepted_to_stored").p95_ms is not None
