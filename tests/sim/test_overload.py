"""Which latencies wait for an overloaded part: those, and no others, grow with the window.

Each simulation asks one part for more than it can do and all others for less, over a window and
over one four times as long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from reports.intervals import Sample
from reports.record import RunRecord
from reports.stability import LATENCIES, loads, unstable
from sim.simulate import simulate
from tests.sim.small import always, merged, scenario

pytestmark = pytest.mark.slow

WINDOW_S, LONGER = 6.0, 4
GROWTH = 1.5
"""Times by which a P95 grows that waits for an overloaded part: up to four."""

STALE = "staleness.age"

BASE: dict[str, Any] = {
    # One look-up in seven is a miss, and most batches have a touch to refresh, so that the P95 of
    # either has met D1. Memory and D1 have room for every queue.
    "measure": {"warmup_s": 0.0},
    "workload": {"attribution": {"zipf_s": 0.0}, "tracking": {"attributed_share": 0.1}},
    "data": {"max_paths": 1000},
    "client": {"timeout_s": 60.0},
    "edge": {"isolates_per_node": 4, "request_memory_kib": 0.0},
    "l1": {"ttl_s": 1},
    "kv": {"expiration_ttl_s": {"attribution": 60}, "cache_ttl_s": 30},
    "d1": {"max_queue_wait_s": 600.0, "max_queue_depth": 1_000_000},
}


def overload(part: str, accept: str) -> dict[str, Any]:
    """Settings that ask this part alone for more than it can do; "none" of them."""
    settings: dict[str, dict[str, Any]] = {
        "none": {},
        # 100 insertions a second, 14 fetches and the statements of 10 refreshes. Where the queue
        # accepts, 10 batches insert ten rows each.
        "d1": {"d1": {"cost": {"base_us": {"d1": 9_000, "queue": 25_000}[accept]}}},
        # 200 requests a second on one thread, 10 batches on another.
        "isolate": {"edge": {"cpu_ms": always(7), "isolates_per_node": 1}},
        # 100 batches a second on one thread, 200 requests on ten.
        "consumer_isolate": {
            "edge": {"cpu_ms": always(12), "isolates_per_node": 10},
            "queue": {"batch_size": 1},
        },
        # 10 batches a second, of over 400 ms each.
        "consumers": {"queue": {"max_concurrency": 3, "dispatch_ms": always(400)}},
    }
    return settings[part]


@cache
def run(part: str, accept: str, times: int) -> RunRecord:
    """The run with that overload, over so many windows."""
    more = {"measure": {"window_s": WINDOW_S * times}, "ingest": {"accept": accept}}
    parts = merged(merged(BASE, overload(part, accept)), more)
    return simulate(scenario(**parts), 1, 1).record


def p95_ms(record: RunRecord, series: str) -> float:
    value = Sample(*record.pooled(series)).percentile(0.95)
    assert value is not None
    return value / 1000


@pytest.mark.parametrize("part", ["none", "d1", "isolate", "consumer_isolate", "consumers"])
@pytest.mark.parametrize("accept", ["d1", "queue"])
def test_what_waits_grows_and_nothing_else_does(part: str, accept: str) -> None:
    """For every series but one, by the table of what waits for what."""
    short, long = run(part, accept, 1), run(part, accept, LONGER)
    for record in (short, long):
        assert record.invalid == []
        assert {load.key for load in loads(record) if load.unstable} == {part} - {"none"}
    measured = [
        series
        for latency in LATENCIES
        for series in latency.series
        if series != STALE and not series.endswith("corrected")
    ]
    for series in measured:
        grew = p95_ms(long, series) > GROWTH * p95_ms(short, series) + 1
        assert grew == bool(unstable(long, series)), series


@pytest.mark.parametrize("part", ["d1", "consumer_isolate", "consumers"])
def test_a_late_refresh_lets_answers_be_stale_for_longer(part: str) -> None:
    """Whatever delays the consumer's work adds to the age of stale answers."""
    short, long = run(part, "d1", 1), run(part, "d1", LONGER)
    assert p95_ms(long, STALE) > GROWTH * p95_ms(short, STALE)
    assert unstable(long, STALE)


def test_answers_that_wait_for_their_isolate_are_read_late() -> None:
    """So none is stale by the time it was asked for, as it would be without the wait: that age is
    no number either, though it does not grow."""
    waited, prompt = run("isolate", "d1", LONGER), run("none", "d1", LONGER)
    assert waited.pooled(STALE)[0].count == 0 < prompt.pooled(STALE)[0].count
    assert unstable(waited, STALE)


def test_what_comes_behind_is_asked_for_what_is_let_through() -> None:
    """An isolate that can do 1/1.4 of what it is asked for passes on as much, and D1's load is
    that."""
    d1 = [
        next(load.value for load in loads(run(part, "d1", LONGER)) if load.key == "d1")
        for part in ("isolate", "none")
    ]
    assert d1[0] / d1[1] == pytest.approx(1 / 1.4, rel=0.05)


def test_a_replica_has_a_load_of_its_own() -> None:
    """Far from the primary, which has nothing to do, look-ups that miss ask for more reads than one
    thread can do."""
    far = {
        "workload": {"tracking": {"rate_per_s": 0.0}},
        "edge": {"nodes": [{"name": "sea", "region": "wnam", "share": 1.0}]},
        "d1": {"replicas": True, "session": "first-unconstrained", "cost": {"base_us": 100_000}},
    }
    record = simulate(scenario(**merged(BASE, far)), 1, 1).record
    assert [load.key for load in loads(record) if load.unstable] == ["d1"]
    assert unstable(record, "latency.attribution.intended")
