"""The profiler: bounded, by endpoint, zeros and failures included, one number for one thing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from reference_impl.messages import D1Call, Evidence, Layer, Lookup
from reference_impl.profiling.hdr import Histogram
from reference_impl.profiling.profiler import (
    AT_ONCE,
    LINES_A_WINDOW,
    MAX_SERIES,
    SLOW_KEPT,
    THRESHOLDS,
    WINDOW_US,
    LatencyProfiler,
)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture
def profiler(clock: Clock, lines: list[Mapping[str, Any]]) -> LatencyProfiler:
    return LatencyProfiler(clock.now_us, lines.append)


def test_c17_e02_e22_the_hit_ratio_counts_hits(profiler: LatencyProfiler) -> None:
    """L1 and KV together over all look-ups; a joined fetch is a miss. 99 of 200 is 0.495."""
    layers = [Layer.L1] * 60 + [Layer.KV] * 39 + [Layer.MISS] * 100 + [Layer.JOINED]
    for layer in layers:
        profiler.request("attribution", 200, 1_000, Evidence([Lookup("attribution", layer)]))
    stats = profiler.cache_stats()
    assert stats["all"]["hit_ratio"] == 0.495
    assert stats["all"] == stats["by_type"]["attribution"]
    assert sum(stats["all"][str(layer)] for layer in Layer) == stats["all"]["lookups"] == 200


@pytest.mark.parametrize("count", [1, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 1])
def test_durations_that_wait_to_be_counted_are_seen(profiler: LatencyProfiler, count: int) -> None:
    """By every reading, and a window turned meanwhile loses none."""
    expected = Histogram()
    for us in range(count):
        expected.record(us)
        profiler.stored(us)
    assert profiler.totals()["queue.accepted_to_stored"] == (expected, 0)
    profiler.stored(5)
    summary = profiler.latency_summary()["queue.accepted_to_stored"]
    assert summary["count"] == summary["window"]["count"] == count + 1


def test_e02_all_misses_is_no_hit_and_no_look_up_is_no_ratio(profiler: LatencyProfiler) -> None:
    """0 and "nothing measured" are told apart."""
    assert profiler.cache_stats()["all"]["hit_ratio"] is None
    profiler.request("attribution", 200, 1, Evidence([Lookup("attribution", Layer.MISS)]))
    assert profiler.cache_stats()["all"]["hit_ratio"] == 0


def test_e03_e19_zeros_count(profiler: LatencyProfiler) -> None:
    """Requests and statements of 0 ms are samples as all others."""
    for _ in range(10):
        profiler.request("tracking", 202, 0, Evidence(d1=[D1Call("insert_event", 0)]))
    profiler.request("tracking", 202, 5_000, Evidence(d1=[D1Call("insert_event", 5_000)]))
    summary = profiler.latency_summary()
    assert (summary["request.tracking"]["count"], summary["d1.request"]["count"]) == (11, 11)
    assert summary["request.tracking"]["p50"] <= 0.001


def test_e21_g05_latency_by_endpoint(profiler: LatencyProfiler) -> None:
    """P95 of each route by rank ceil(0.95 n), not of all of them mixed."""
    for ms in range(1, 101):
        profiler.request("tracking", 202, ms * 100, Evidence())
        profiler.request("attribution", 200, ms * 1_000, Evidence())
    summary = profiler.latency_summary()
    assert summary["request.tracking"]["p95"] == pytest.approx(9.5, rel=0.002)
    assert summary["request.attribution"]["p95"] == pytest.approx(95, rel=0.002)
    assert summary["request.attribution"]["max"] == 100


def test_e20_failures_are_counted_with_their_time(profiler: LatencyProfiler) -> None:
    """A 5xx, a failed statement and a failed batch are samples and failures; a 404 is neither."""
    profiler.request("attribution", 503, 9_000, Evidence(d1=[D1Call("a", 8_000, failed=True)]))
    profiler.request("attribution", 404, 1_000, Evidence())
    profiler.batch(2_000, Evidence(d1=[D1Call("b", 1_000)]), failed=True)
    summary = profiler.latency_summary()
    counted = {
        name: (row["count"], row["failed"])
        for name, row in summary.items()
        if not name.startswith("query.")
    }
    assert counted == {
        "d1.consumer": (1, 0),
        "d1.request": (1, 1),
        "queue.handling": (1, 1),
        "request.attribution": (2, 1),
    }


def test_e13_the_list_of_slow_queries_is_bounded(profiler: LatencyProfiler) -> None:
    """Over 100 ms is slow, at 100 ms is not; the newest are kept, so many and no more."""
    slow_us = THRESHOLDS["query"].critical_us
    profiler.request("tracking", 202, 1, Evidence(d1=[D1Call("at_the_limit", slow_us)]))
    for i in range(SLOW_KEPT + 5):
        profiler.request("tracking", 202, 1, Evidence(d1=[D1Call("insert", slow_us + 1 + i)]))
    slow = profiler.query_stats()["slow_queries"]
    assert len(slow) == SLOW_KEPT
    assert slow[-1] == {
        "query": "insert",
        "ms": (slow_us + SLOW_KEPT + 5) / 1000,
        "failed": False,
    }


def test_e05_e06_e09_e17_nothing_grows_with_traffic(profiler: LatencyProfiler) -> None:
    """A name for each thing up to a bound, then one for all others; no list of what happened."""
    for i in range(3 * MAX_SERIES):
        profiler.request("tracking", 202, i, Evidence([], [D1Call(f"query{i}", i)], i))
        profiler.stored(i)
    summary = profiler.latency_summary()
    assert len(summary) == MAX_SERIES + 1
    assert summary["d1.request"]["count"] == 3 * MAX_SERIES
    named = sum(row["count"] for name, row in summary.items() if name.startswith("query."))
    assert named + summary["other"]["count"] == 3 * MAX_SERIES


def test_e21_the_window_forgets_and_the_total_does_not(
    profiler: LatencyProfiler, clock: Clock
) -> None:
    """The window holds the present minute and the one before; after a longer rest, nothing."""
    profiler.stored(1_000)
    counts = []
    for at_us in (WINDOW_US, 2 * WINDOW_US + 1, 9 * WINDOW_US):
        clock.us = at_us
        row = profiler.latency_summary()["queue.accepted_to_stored"]
        counts.append((row["count"], row["window"]["count"]))
    assert counts == [(1, 1), (1, 0), (1, 0)]
    profiler.stored(1_000)
    clock.us = 99 * WINDOW_US
    assert profiler.latency_summary()["queue.accepted_to_stored"]["window"]["count"] == 0


def test_e11_slow_work_is_told_at_its_level(
    profiler: LatencyProfiler, lines: list[Mapping[str, Any]]
) -> None:
    """Over the warning, a warning; over the critical limit, critical; fast work is silent."""
    for us in (100_000, 150_000, 250_000):
        profiler.request("attribution", 200, us, Evidence())
    profiler.external("crm", 600_000)
    assert lines == [
        {"level": "warning", "what": "request.attribution", "ms": 150.0},
        {"level": "critical", "what": "request.attribution", "ms": 250.0},
        {"level": "warning", "what": "external.crm", "ms": 600.0},
    ]


def test_lines_are_limited_and_the_rest_is_counted(
    profiler: LatencyProfiler, lines: list[Mapping[str, Any]], clock: Clock
) -> None:
    """So many lines a window; the next window begins with how many were left out."""
    for _ in range(LINES_A_WINDOW + 7):
        profiler.external("crm", 600_000)
    assert len(lines) == LINES_A_WINDOW
    clock.us = WINDOW_US
    profiler.external("crm", 600_000)
    assert lines[LINES_A_WINDOW:] == [
        {"level": "warning", "what": "external", "left_out": 7},
        {"level": "warning", "what": "external.crm", "ms": 600.0},
    ]


def test_e21_a_window_is_a_difference(profiler: LatencyProfiler) -> None:
    """Two readings of the cumulative histograms give what happened between them."""
    profiler.stored(1_000)
    before = Histogram.from_json(profiler.cumulative()["cumulative"]["queue.accepted_to_stored"])
    profiler.stored(7_000)
    after = Histogram.from_json(profiler.cumulative()["cumulative"]["queue.accepted_to_stored"])
    between = after.minus(before)
    assert between.count == 1
    assert between.percentile(0.95) == pytest.approx(7_000, rel=0.002)


def test_e10_an_empty_profiler_answers(profiler: LatencyProfiler) -> None:
    """Nothing measured is ``None``, not an error and not 0 ms."""
    assert profiler.latency_summary() == {}
    assert profiler.query_stats() == {"slow_queries": []}
    assert json.dumps(profiler.cumulative()) == '{"cumulative": {}, "failed": {}}'
