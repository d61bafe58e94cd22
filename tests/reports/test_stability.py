"""A latency that waits for a part which is asked for more than it can do has no number; a run says
which part it is, and is on alert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from reports import stability
from reports.details import TIMINGS, load_rows, timing
from reports.kpis import BY_NAME
from reports.record import RunRecord, Unit
from reports.verdict import judge
from sim.simulate import simulate
from tests.reports.conftest import STABLE, with_loads
from tests.sim.small import scenario

MakeRecord = Callable[..., RunRecord]
WINDOW_US = 1_000_000
WAIT = "d1.request.wait"


def record_of(*loads: float, part: str = "d1") -> RunRecord:
    """A record whose replications asked so much of one part, and nothing else."""
    made = simulate(scenario(), 1, 1).record
    made.units = [
        Unit(
            counts={
                f"load.{part}.asked_us": round(load * WINDOW_US),
                f"load.{part}.window_us": WINDOW_US,
            }
        )
        for load in loads
    ]
    return made


@pytest.mark.parametrize(
    ("loads", "unstable", "doubtful"),
    [
        ([0.5, 0.6, 0.7], False, False),
        ([1.3, 1.31, 1.32], True, False),
        ([0.9, 1.0, 1.2], False, True),
        ([0.97, 0.98, 1.0], False, True),
        ([1.01], True, False),
        ([0.99], False, False),
    ],
)
def test_the_interval_decides(loads: list[float], unstable: bool, doubtful: bool) -> None:
    """Wholly at 1 or above: unstable; across 1: a doubt; one replication has only its value."""
    record = record_of(*loads)
    (load,) = stability.loads(record)
    assert load.value == pytest.approx(sum(loads) / len(loads))
    assert (load.unstable, load.doubtful) == (unstable, doubtful)
    assert bool(stability.unstable(record, WAIT)) == bool(stability.overloaded(record)) == unstable
    assert len(stability.notes(record)) == unstable + doubtful


def test_which_part_and_how_much() -> None:
    """In words, for each part that is counted, with what to do about it."""
    for part, (words, advice) in stability.PARTS.items():
        (found,) = stability.overloaded(record_of(1.3, 1.3, part=part))
        assert found.sentence() == f"{words} is asked for 1.3 s of work a second [1.3, 1.3]"
        assert stability.advice([found]) == f"ask less of it: {advice}"
        assert found.to_json() == {"part": part, "load": 1.3, "interval": [1.3, 1.3]}
    assert load_rows([record_of(0.25), record_of(0.5, part="isolate")]) == [
        ["Load of the thread of D1", "0.250", "-"],
        ["Load of the thread of the busiest isolate", "-", "0.500"],
    ]


def test_a_run_in_real_time_has_no_loads() -> None:
    """Nobody counted them there."""
    made = record_of()
    made.units = [Unit()]
    assert stability.loads(made) == []
    assert stability.notes(made) == []
    assert stability.unstable(made, WAIT) == []


def test_every_latency_that_is_told_stands_in_the_table_once() -> None:
    """Whatever has a percentile; what a newer one waits for must be said before it has a number."""
    listed = Counter(series for latency in stability.LATENCIES for series in latency.series)
    told = {kpi.source for kpi in BY_NAME.values() if kpi.statistic == "percentile"}
    assert set(listed) == told | {series for _, series in TIMINGS}
    assert set(listed.values()) == {1}


def waiting(record: RunRecord) -> set[str]:
    """The latencies, in words, that have no number."""
    return {
        latency.words
        for latency in stability.LATENCIES
        if {bool(stability.unstable(record, series)) for series in latency.series} == {True}
    }


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("isolate", {"tracking", "attribution"}),
        ("consumer_isolate", {"queue processing", "accepted to stored"}),
        ("consumers", {"accepted to stored"}),
        (
            "d1",
            {
                "tracking",
                "attribution",
                "D1 query",
                "D1 query of the queue's consumer",
                "queue processing",
                "accepted to stored",
            },
        ),
    ],
)
def test_only_what_waits_for_the_part_has_no_number(
    make_record: MakeRecord, part: str, expected: set[str]
) -> None:
    """And the note lists just that."""
    record = with_loads(make_record(), **{**STABLE, part: 1.2})
    assert waiting(record) == expected | {"age of stale answers"}
    (note,) = stability.notes(record)
    assert note.startswith(stability.PARTS[part].words)
    listed = note[note.index("(") + 1 : note.index(")")].split(", ")
    assert set(listed) == waiting(record)


def test_accepted_by_the_queue_an_event_does_not_wait_for_d1(make_record: MakeRecord) -> None:
    """Its row is written by the consumer."""
    record = with_loads(make_record(), **{**STABLE, "d1": 1.2})
    assert "tracking" in waiting(record)
    record.scenario_settings = {"ingest": {"accept": "queue"}}
    assert "tracking" not in waiting(record)
    assert "attribution" in waiting(record)
    record.scenario_settings = {"ingest": "queue"}  # a file that nobody has written as it is
    assert "tracking" in waiting(record)


def test_what_is_not_known_to_be_steady_has_no_number(make_record: MakeRecord) -> None:
    """A series that the table does not have; and the busiest isolate of an older record, which may
    be the consumers'."""
    record = with_loads(make_record(), **{**STABLE, "consumers": 1.2})
    assert stability.unstable(record, "something new")
    older = with_loads(make_record(), isolate=1.2)
    assert {"tracking", "queue processing", "accepted to stored"} <= waiting(older)
    assert "D1 query" not in waiting(older)


def test_a_doubt_is_about_what_still_has_a_number(make_record: MakeRecord) -> None:
    """Not about what is lost to another part already."""
    record = with_loads(make_record(), **STABLE)
    for unit, load in zip(record.units, (0.9, 1.0, 1.1, 0.9, 1.1), strict=True):
        unit.counts["load.consumer_isolate.asked_us"] = round(load * WINDOW_US)
    (doubt,) = stability.notes(record)
    assert (
        "grows, and with it queue processing, accepted to stored, age of stale answers; " in doubt
    )
    assert judge(record).word == "pass"
    doubt, overload = stability.notes(with_loads(record, consumers=1.2))
    assert "grows, and with it queue processing; more" in doubt
    assert overload.startswith("each consumer of the queue is asked for 1.2 s")
    *_, doubt = stability.notes(with_loads(record, consumers=0.5, d1=1.2))
    assert "to tell whether its queue grows; more" in doubt


OVERLOAD = {"cost": {"base_us": 12_000}, "max_queue_wait_s": 600.0, "max_queue_depth": 1_000_000}


def test_an_arrival_rate_above_capacity_is_no_number() -> None:
    """100 insertions a second of 12 ms: the latencies have no value and are on alert, the verdict
    names the thread, and nothing is said to have failed."""
    record = simulate(scenario(d1=OVERLOAD), 1, 3).record
    results = {result.name: result for result in judge(record).kpis}
    for name in ("tracking_latency_p95", "attribution_latency_p95", "d1_query_p95"):
        assert (results[name].value, results[name].verdict) == (None, "alert")
        assert results[name].failed < results[name].samples
        assert results[name].advice == f"ask less of it: {stability.PARTS['d1'].advice}"
    assert results["cache_hit_ratio"].value is not None
    assert results["worker_cpu_p95"].value is not None
    assert timing(record, "D1", WAIT).p95_ms is None
    assert timing(record, "D1", "d1.request.sql").p95_ms == pytest.approx(12.0, rel=0.01)
    last = judge(record).last_line
    assert last.startswith(
        "20 alert tracking_latency_p95: P95 none (unstable: the thread of D1 is asked for 1."
    )
    assert last.endswith(stability.PARTS["d1"].advice)


@pytest.mark.parametrize(
    ("parts", "part", "expected"),
    [
        ({"d1": {"cost": {"base_us": 4_000}}}, "d1", 0.5),
        ({"edge": {"cpu_ms": {"p50": 2.0, "p99": 2.0}}}, "isolate", 0.4),
        (
            {
                "edge": {"cpu_ms": {"p50": 2.0, "p99": 2.0}, "isolates_per_node": 2},
            },
            "isolate",
            0.2,
        ),
        ({"edge": {"cpu_ms": {"p50": 2.0, "p99": 2.0}}}, "consumer_isolate", 0.02),
        ({"d1": {"cost": {"base_us": 1_000_000}, "max_queue_depth": 1}}, "d1", 100.0),
        (
            {"queue": {"max_concurrency": 5, "dispatch_ms": {"p50": 400.0, "p99": 400.0}}},
            "consumers",
            0.9,
        ),
    ],
    ids=["D1", "one isolate", "two isolates", "batches", "refused work counts", "consumers"],
)
def test_loads_are_rates_times_services(
    parts: dict[str, object], part: str, expected: float
) -> None:
    """Look-ups from a steady start hardly reach D1; 100 events a second do, one each, and 10 a
    batch reach the consumers and their isolate."""
    record = simulate(scenario(measure={"window_s": 10.0}, **parts), 1, 3).record
    found = {load.key: load.value for load in stability.loads(record)}
    assert found[part] == pytest.approx(expected, rel=0.25)
