"""The profiler: bounded, by endpoint, zeros and failures included, one number for one thing."""

from __future__ import annotations

import json

import pytest

from reference_impl.hdr import Histogram
from reference_impl.messages import D1Call, Evidence, Layer, Lookup
from reference_impl.profiler import SLOW_QUERY_US, LatencyProfiler


@pytest.fixture
def profiler() -> LatencyProfiler:
    return LatencyProfiler()


def test_c17_e02_e22_the_hit_ratio_counts_hits(profiler: LatencyProfiler) -> None:
    """L1 and KV together over all look-ups; a joined fetch is a miss. 99 of 200 is 0.495."""
    layers = [Layer.L1] * 60 + [Layer.KV] * 39 + [Layer.MISS] * 100 + [Layer.JOINED]
    for layer in layers:
        profiler.request("attribution", 200, 1_000, Evidence([Lookup("attribution", layer)]))
    stats = profiler.cache_stats()
    assert stats["all"]["hit_ratio"] == 0.495
    assert stats["all"] == stats["by_type"]["attribution"]
    assert sum(stats["all"][str(layer)] for layer in Layer) == stats["all"]["lookups"] == 200


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
    counted = {name: (row["count"], row["failed"]) for name, row in summary.items()}
    assert counted == {
        "d1.consumer": (1, 0),
        "d1.request": (1, 1),
        "queue.handling": (1, 1),
        "request.attribution": (2, 1),
    }


def test_e13_slow_queries_are_a_count(profiler: LatencyProfiler) -> None:
    """Over 100 ms is slow; the answer is of the same size however many there were."""
    sizes = []
    for _ in range(3):
        for total_us in (SLOW_QUERY_US, SLOW_QUERY_US + 1):
            profiler.request("tracking", 202, 1, Evidence(d1=[D1Call("insert_event", total_us)]))
        stats = profiler.query_stats()
        sizes.append(len(json.dumps(stats)))
    assert stats["slow_queries"] == 3
    assert len(set(sizes)) == 1


def test_e05_e06_e09_e17_nothing_grows_with_traffic(profiler: LatencyProfiler) -> None:
    """Histograms by name, and no list of what happened: ten times the traffic, the same names."""

    def traffic() -> dict[str, object]:
        for i in range(500):
            call = D1Call(f"query{i}", i)
            profiler.request("tracking", 202, i, Evidence([], [call], i))
            profiler.stored(i)
        return profiler.cumulative()

    first, second = traffic(), traffic()
    assert json.dumps(first).count('"v2"') == json.dumps(second).count('"v2"') == 4
    assert len(json.dumps(second)) < len(json.dumps(first)) * 1.2


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
    assert profiler.query_stats()["d1.request"]["p95"] is None
    assert json.dumps(profiler.cumulative()) == '{"cumulative": {}, "failed": {}}'
