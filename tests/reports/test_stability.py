"""A part that is asked for more than it can do has no latency, and a run says which part it is."""

from __future__ import annotations

import pytest

from reports import stability
from reports.details import load_rows, timing
from reports.record import RunRecord, Unit
from reports.verdict import judge
from sim.simulate import simulate
from tests.sim.small import scenario

WINDOW_US = 1_000_000


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
    (load,) = stability.loads(record_of(*loads))
    assert load.value == pytest.approx(sum(loads) / len(loads))
    assert (load.unstable, load.doubtful) == (unstable, doubtful)
    assert bool(stability.unstable(record_of(*loads))) == unstable
    assert len(stability.doubts(record_of(*loads))) == doubtful


def test_which_part_and_how_much() -> None:
    """In words, for each part that is counted."""
    for part, words in stability.PARTS.items():
        found = stability.unstable(record_of(1.3, 1.3, part=part))
        assert found == f"{words} is asked for 1.3 s of work a second [1.3, 1.3]"
    assert load_rows([record_of(0.25), record_of(0.5, part="isolate")]) == [
        ["Load of the thread of D1", "0.250", "-"],
        ["Load of the thread of the busiest isolate", "-", "0.500"],
    ]


def test_a_run_in_real_time_has_no_loads() -> None:
    """Nobody counted them there."""
    made = record_of()
    made.units = [Unit()]
    assert stability.loads(made) == []
    assert stability.unstable(made) == ""


OVERLOAD = {"cost": {"base_us": 12_000}, "max_queue_wait_s": 600.0, "max_queue_depth": 1_000_000}


def test_an_arrival_rate_above_capacity_is_no_number() -> None:
    """100 insertions a second of 12 ms: the latencies have no value and are on alert, the verdict
    names the thread, and nothing is said to have failed."""
    record = simulate(scenario(d1=OVERLOAD), 1, 3).record
    results = {result.name: result for result in judge(record).kpis}
    for name in ("tracking_latency_p95", "attribution_latency_p95", "d1_query_p95"):
        assert (results[name].value, results[name].verdict) == (None, "alert")
        assert results[name].failed < results[name].samples
    assert results["cache_hit_ratio"].value is not None
    assert results["worker_cpu_p95"].value is not None
    assert timing(record, "D1", "d1.request.wait").p95_ms is None
    last = judge(record).last_line
    assert last.startswith("20 alert ")
    assert "unstable: the thread of D1 is asked for 1." in last
    assert last.endswith(stability.ADVICE)


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
        ({"d1": {"cost": {"base_us": 1_000_000}, "max_queue_depth": 1}}, "d1", 100.0),
        (
            {"queue": {"max_concurrency": 5, "dispatch_ms": {"p50": 400.0, "p99": 400.0}}},
            "consumers",
            0.9,
        ),
    ],
    ids=["D1", "one isolate", "two isolates", "refused work counts", "consumers"],
)
def test_loads_are_rates_times_services(
    parts: dict[str, object], part: str, expected: float
) -> None:
    """Look-ups from a steady start hardly reach D1; 100 events a second do, one each, and 10 a
    batch reach the consumers."""
    record = simulate(scenario(measure={"window_s": 10.0}, **parts), 1, 3).record
    found = {load.part: load.value for load in stability.loads(record)}
    assert found[stability.PARTS[part]] == pytest.approx(expected, rel=0.25)
