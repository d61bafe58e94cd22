"""The recorder counts what happened, once, in the block of its intended start."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.messages import D1Call, Evidence, Layer, Lookup
from reference_impl.profiling.hdr import Histogram
from reports.record import Unit
from reports.recorder import Recorder, Window

WINDOW = Window(1000, 2000)


def recorder(blocks: int = 1) -> Recorder:
    return Recorder(WINDOW, blocks=blocks, cache_types=["attribution"])


def only(made: Recorder) -> Unit:
    (unit,) = made.finish()
    return unit


def series(unit: Unit) -> dict[str, tuple[int, int]]:
    """Count and sum of each series."""
    return {name: (made.count, made.sum_us) for name, made in unit.series.items()}


def test_latency_counts_from_the_intended_start_and_beside_it_from_the_actual() -> None:
    """One request, both latencies, CPU from the evidence."""
    made = recorder()
    made.request("tracking", 1100, 1150, 1400, None, Evidence(cpu_us=7))
    assert series(only(made)) == {
        "cpu": (1, 7),
        "latency.tracking.intended": (1, 300),
        "latency.tracking.actual": (1, 250),
    }


@settings(max_examples=30)
@given(st.lists(st.integers(900, 2100)), st.integers(1, 7))
def test_each_start_in_the_window_falls_into_exactly_one_block(
    starts: list[int], blocks: int
) -> None:
    """Blocks partition the window by intended start; what lies outside is ignored."""
    made = recorder(blocks)
    for start in starts:
        made.request("tracking", start, start, start + 1, None, Evidence())
    units = made.finish()
    counted = [unit.counts.get("requests.tracking", 0) for unit in units]
    expected = [
        sum(1000 <= start < 2000 and (start - 1000) * blocks // 1000 == block for start in starts)
        for block in range(blocks)
    ]
    assert counted == expected


def test_a_failed_request_has_no_time_but_keeps_its_evidence() -> None:
    """It counts as failed in both latencies and by reason; its look-ups and D1 calls count."""
    made = recorder()
    evidence = Evidence([Lookup("attribution", Layer.MISS)], [D1Call("q", 5)], cpu_us=3)
    made.request("attribution", 1500, 1500, 0, "timeout", evidence)
    unit = only(made)
    assert series(unit) == {"cpu": (1, 3), "d1.request": (1, 5)}
    assert unit.failed == {"latency.attribution.intended": 1, "latency.attribution.actual": 1}
    assert unit.counts == {
        "cache.attribution.miss": 1,
        "cache.total": 1,
        "errors.part": 1,
        "errors.total": 1,
        "failure.timeout": 1,
        "requests.attribution": 1,
    }


def test_lookups_are_counted_by_type_and_layer_and_the_ratio_by_the_types_that_count() -> None:
    """A joined one is a miss, a cached "not there" a hit; config is shown but not in the ratio."""
    made = recorder()
    lookups = [
        Lookup("attribution", Layer.L1),
        Lookup("attribution", Layer.KV, negative=True),
        Lookup("attribution", Layer.KV, stale=True),
        Lookup("attribution", Layer.JOINED),
        Lookup("attribution", Layer.UNKNOWN),
        Lookup("securityConfig", Layer.L1),
    ]
    made.request("tracking", 1000, 1000, 1001, None, Evidence(lookups))
    counts = only(made).counts
    assert {name: count for name, count in counts.items() if name.startswith("cache.")} == {
        "cache.attribution.joined": 1,
        "cache.attribution.kv": 2,
        "cache.attribution.kv.negative": 1,
        "cache.attribution.kv.stale": 1,
        "cache.attribution.l1": 1,
        "cache.attribution.unknown": 1,
        "cache.part": 3,
        "cache.securityConfig.l1": 1,
        "cache.total": 5,
        "cache.unknown": 1,
    }


def test_d1_calls_are_split_and_a_failed_one_has_no_total() -> None:
    """Total, SQL, wait and round trip each have a series; the consumer's are apart."""
    made = recorder()
    calls = [D1Call("a", 100, 10, 20, 70), D1Call("b", 50), D1Call("c", 9, failed=True)]
    made.request("tracking", 1000, 1000, 1001, None, Evidence(d1=calls))
    made.consumer_d1(1999, D1Call("d", 11, 1))
    made.consumer_d1(2000, D1Call("late", 11))
    unit = only(made)
    found = {name: value for name, value in series(unit).items() if name.startswith("d1")}
    assert found == {
        "d1.request": (2, 150),
        "d1.request.sql": (1, 10),
        "d1.request.wait": (1, 20),
        "d1.request.round_trip": (1, 70),
        "d1.consumer": (1, 11),
        "d1.consumer.sql": (1, 1),
    }
    assert unit.failed == {"d1.request": 1}


def test_queue_batches_belong_to_their_start_and_events_to_their_acceptance() -> None:
    """Handling and accepted-to-stored, inside the window only."""
    made = recorder()
    made.batch(1000, 40)
    made.batch(1500, 0, failed=True)
    made.batch(999, 40)
    made.stored(1999, 9000)
    made.stored(2000, 9000)
    unit = only(made)
    assert series(unit) == {"queue.handling": (1, 40), "queue.accepted_to_stored": (1, 7001)}
    assert unit.failed == {"queue.handling": 1}


def test_memory_keeps_the_largest_isolate() -> None:
    """The maximum over all reports, in every block."""
    made = recorder(blocks=2)
    for bytes_ in (5, 9, 7):
        made.memory(bytes_)
    assert [unit.memory_max_bytes for unit in made.finish()] == [9, 9]


def test_a_servers_own_histogram_can_be_merged() -> None:
    """What the server counted over the window is added to the first block, failures too."""
    counted = Histogram()
    counted.record_many([10, 20])
    made = recorder(blocks=2)
    made.merge_histogram("queue.handling", counted, failed=3)
    first, second = made.finish()
    assert (series(first), first.failed) == ({"queue.handling": (2, 30)}, {"queue.handling": 3})
    assert second == Unit(counts={})


def test_nothing_is_lost_over_many_flushes() -> None:
    """More samples than one batch holds, all counted, on and off the hot path."""
    made = recorder()
    evidence = Evidence([Lookup("attribution", Layer.L1)], [D1Call("q", 2)], cpu_us=1)
    for _ in range(9000):
        made.request("tracking", 1500, 1500, 1510, None, evidence)
        made.batch(1500, 3)
    unit = only(made)
    assert series(unit)["latency.tracking.intended"] == (9000, 90_000)
    assert series(unit)["queue.handling"] == (9000, 27_000)
    assert series(unit)["d1.request"] == (9000, 18_000)
    assert unit.counts["cache.part"] == 9000
    unit.check()


def test_a_finished_recorder_takes_no_more_samples() -> None:
    """Coroutines woken at the end of a run cannot add to it; a late report is an error."""
    made = recorder()
    unit = only(made)
    made.request("tracking", 1500, 1500, 1510, None, Evidence())
    made.batch(1500, 3)
    assert unit == Unit()
    with pytest.raises(RuntimeError, match="finished"):
        made.memory(5)


@pytest.mark.parametrize(("window", "blocks"), [(Window(5, 5), 1), (Window(0, 9), 0)])
def test_a_window_without_length_or_blocks_is_refused(window: Window, blocks: int) -> None:
    """Such a recorder could never count anything."""
    with pytest.raises(ValueError, match="nothing fits"):
        Recorder(window, blocks=blocks, cache_types=[])


def test_a_stale_answer_counts_where_it_was_asked_for() -> None:
    """In the window only; and what somebody else counted is added to the first block."""
    made = recorder(2)
    made.merge_counts({"kv.writes": 3})
    for asked_us in (999, 1000, 1999, 2000):
        made.stale(asked_us, asked_us * 1000)
    first, second = made.finish()
    assert (series(first), first.counts["kv.writes"]) == (
        {"staleness.age": (1, 1_000_000)},
        3,
    )
    assert series(second) == {"staleness.age": (1, 1_999_000)}
