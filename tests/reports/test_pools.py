"""Which runs are judged together, what has to agree, and how their units are paired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reports.design import design
from reports.fingerprint import setting_differences, version_differences
from reports.pools import Pool, PoolError, pools_of
from reports.record import RunRecord, Window, sha256
from reports.verdict import judge

MakeRecord = Callable[..., RunRecord]


def asked(record: RunRecord, **settings: Any) -> RunRecord:
    """The record of a run that was asked with these settings."""
    record.scenario_settings = {**record.scenario_settings, **settings}
    record.scenario_sha256 = sha256(record.scenario_settings)
    return record


def started(record: RunRecord, minute: int) -> RunRecord:
    """The record of a run in real time that began in this minute."""
    record.provenance = {**record.provenance, "started": f"2026-01-01T10:{minute:02}:00+00:00"}
    return record


# --------------------------------------------------------------------------- fingerprint


def test_what_changes_no_number_may_differ(make_record: MakeRecord) -> None:
    """Description, seed and limits; and versions of what only reports."""
    old = asked(make_record(), description="old", seed=1, kpis={"limits": {}, "required": ["x"]})
    new = asked(make_record(), description="new", seed=2, kpis={"limits": {"a": 1}, "required": []})
    new.provenance = {**new.provenance, "edgekpi": "9.9", "hdrhistogram": "9", "python": "3.99.0"}
    assert setting_differences(new, old) == []
    assert version_differences(new, old) == []


def test_what_changes_numbers_is_named_with_both_values(make_record: MakeRecord) -> None:
    """By its path, also where one of both does not have it; and the window."""
    old = asked(make_record(), d1={"commit_ms": {"p50": 5.0}}, edge=[1])
    new = asked(make_record(), d1={"commit_ms": {"p50": 6.0}}, edge=[1, 2], kv={"ttl": 60})
    new.window = Window(0, 1)
    assert setting_differences(new, old) == [
        "d1.commit_ms.p50 is 6.0, was 5.0",
        "edge is [1, 2], was [1]",
        "kv.ttl is 60, was nothing",
        "measured window is (0, 1), was (5000000, 35000000)",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "old", "new", "differs"),
    [
        ("simulated", "sqlite", "3.54.1", "3.54.2", True),
        ("simulated", "numpy", "2.4.6", "2.4.7", False),
        ("simulated", "numpy", "2.4.6", "2.5.0", True),
        ("simulated", "platform", "Linux x86_64, 2 CPUs", "Linux x86_64, 8 CPUs", False),
        ("emulated", "platform", "Linux x86_64, 2 CPUs", "Linux x86_64, 8 CPUs", True),
        ("emulated", "host", "http://127.0.0.1:1", "http://127.0.0.1:2", False),
        ("live", "host", "http://one", "http://two", True),
        ("live", "locust", "2.47.0", "2.47.1", False),
        ("live", "locust", "2.47.0", "2.48.0", True),
    ],
)
def test_versions_that_can_move_a_number(
    make_record: MakeRecord, kind: str, name: str, old: str, new: str, differs: bool
) -> None:
    """Of a simulation what it computes with, in real time the machine, host and generator."""
    before, after = make_record(kind), make_record(kind)
    before.provenance[name], after.provenance[name] = old, new
    expected = [f"{name} is {new}, was {old}"] if differs else []
    assert version_differences(after, before) == expected


# --------------------------------------------------------------------------- pools


def test_runs_are_sorted_by_scenario_and_world(make_record: MakeRecord) -> None:
    """In the order in which each appears first."""
    other = make_record()
    other.scenario = "other"
    runs = [make_record(), other, make_record("emulated"), make_record(first=6)]
    pools = pools_of(runs)
    assert [pool.name for pool in pools] == [
        "steady/baseline (simulated)",
        "other (simulated)",
        "steady/baseline (emulated)",
    ]
    assert pools[0].describe() == "10 replications, seeds 1 to 10"
    assert pools[2].describe() == "1 run of 5 blocks"


def test_replications_of_several_records_are_pooled(make_record: MakeRecord) -> None:
    """As if they had been one run."""
    together = Pool([make_record(units=2), make_record(units=3, first=3)])
    whole = make_record()
    assert together.record.units == whole.units
    assert list(together.units) == [1, 2, 3, 4, 5]
    assert judge(together.record).word == "pass"


def test_each_run_in_real_time_is_one_unit(make_record: MakeRecord) -> None:
    """Its blocks summed, its largest memory; and the interval says that it is over runs."""
    first, second = make_record("live", units=4), make_record("live", units=2, first=9)
    pool = Pool([first, second])
    assert [unit.counts["errors.total"] for unit in pool.record.units] == [3200, 1600]
    assert pool.record.units[0].series["cpu"] == first.pooled("cpu")[0]
    assert pool.record.units[0].memory_max_bytes == first.units[3].memory_max_bytes
    tracking = judge(pool.record).kpis[1]
    assert tracking.method in ("2 runs, Student t", "order statistics of all samples")
    assert pool.record.unit_word == "runs"


def test_strangers_are_not_pooled(make_record: MakeRecord) -> None:
    """The same run twice, the same seed twice, other settings, other versions: each its message."""
    other_sqlite = make_record(first=6)
    other_sqlite.provenance["sqlite"] = "1"
    for stranger, message in (
        (make_record(), "the same run is given twice"),
        (make_record(samples=300), "seed 1 is given twice"),
        (asked(make_record(first=6), more=1), "different questions: more is nothing, was 1"),
        (other_sqlite, "not of one make: sqlite is 3.54.1, was 1"),
    ):
        with pytest.raises(PoolError, match=message):
            Pool([make_record(), stranger])


# --------------------------------------------------------------------------- design


def test_common_seeds_are_paired(make_record: MakeRecord) -> None:
    """Whatever the order and number; only all of the new ones can prove anything."""
    new, old = Pool([make_record(units=3, first=4)]), Pool([make_record(units=5)])
    chosen = design(new, old)
    assert (chosen.paired, chosen.proves, chosen.method) == (
        True,
        False,
        "seed by seed over 2 seeds",
    )
    assert all(one == other for one, other in chosen.pairs())
    assert design(Pool([make_record(units=1)]), old).proves


def test_other_seeds_are_independent(make_record: MakeRecord) -> None:
    """No seed, or a single one of several, in common."""
    old = Pool([make_record()])
    for first in (5, 6):
        chosen = design(Pool([make_record(first=first)]), old)
        assert not chosen.paired
        assert chosen.method == "5 against 5 replications of other seeds"


def test_one_run_against_one_is_within_run(make_record: MakeRecord) -> None:
    """Blocks know nothing of the drift between runs; but a run equals itself."""
    one = make_record("live")
    chosen = design(Pool([one]), Pool([make_record("live", first=6)]))
    assert (chosen.within_run, chosen.paired, chosen.unit_word) == (True, False, "blocks")
    assert design(Pool([one]), Pool([one])).proves


def test_one_run_against_several_counts_as_one(make_record: MakeRecord) -> None:
    """Its blocks are not taken for runs."""
    new = Pool([make_record("live")])
    old = Pool([make_record("live", first=10 * n) for n in (1, 2, 3)])
    chosen = design(new, old)
    assert [len(side) for side in chosen.sides] == [1, 3]
    assert (chosen.within_run, chosen.method) == (False, "1 against 3 runs")


def test_interleaved_runs_are_paired_in_time(make_record: MakeRecord) -> None:
    """A B B A, in whatever order they are given; not A A B B, and not unless all tell when."""
    runs = {name: make_record("live", first=10 * n) for n, name in enumerate("ABCD", 1)}
    times = {"A": 0, "B": 1, "C": 2, "D": 3}
    for name, minute in times.items():
        started(runs[name], minute)
    new, old = Pool([runs["D"], runs["A"]]), Pool([runs["B"], runs["C"]])
    chosen = design(new, old)
    assert (chosen.paired, chosen.method) == (True, "2 interleaved pairs of runs")
    assert chosen.sides[0] == [Pool([runs[name]]).runs[0] for name in "AD"]
    assert chosen.sides[1] == [Pool([runs[name]]).runs[0] for name in "BC"]
    assert not design(Pool([runs["A"], runs["B"]]), Pool([runs["C"], runs["D"]])).paired
    del runs["A"].provenance["started"]
    assert not design(new, old).paired
