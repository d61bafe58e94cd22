"""How old stale answers are: judged in seconds, by P99, where a scenario sets limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.details import happened
from reports.intervals import MIN_SAMPLES, least_samples
from reports.kpis import STALENESS, UNKNOWN_AGE
from reports.record import RunRecord, load
from reports.verdict import judge
from scenarios.record import new_record
from scenarios.schema import Scenario
from tests.reports.conftest import STABLE, histogram, with_loads

MakeRecord = Callable[..., RunRecord]
NAME = "staleness_p99_s"
LIMITS = {NAME: (60.0, 120.0)}


def with_ages(record: RunRecord, seconds: float, samples: int) -> RunRecord:
    """The record with limits, and in each unit so many stale answers of one age."""
    record.limits |= LIMITS
    for unit in record.units:
        unit.series["staleness.age"] = histogram([seconds * 1000.0] * samples)
    return record


@pytest.mark.parametrize(
    ("seconds", "samples", "word"),
    [
        (59.0, 459, "pass"),
        (61.0, 459, "missed"),
        (130.0, 459, "alert"),
        (59.0, 458, "inconclusive"),
    ],
)
def test_its_word(make_record: MakeRecord, seconds: float, samples: int, word: str) -> None:
    """459 samples below the limit are what shows a P99 at 99 %."""
    verdict = judge(with_ages(make_record(units=1), seconds, samples))
    result = verdict.kpis[-1]
    assert (result.name, result.verdict, result.counts) == (NAME, word, True)
    assert result.value == pytest.approx(seconds, rel=0.001)
    assert verdict.word == word
    assert result.sentence().startswith(f"P99 {seconds:.0f}" if seconds > 99 else f"P99 {seconds}")
    assert result.sentence().endswith("against <= 60 s")


def test_without_limits_it_is_not_judged(make_record: MakeRecord) -> None:
    """Nor does it stand in the verdict."""
    record = with_ages(make_record(), 500.0, 1_000)
    del record.limits[NAME]
    assert judge(record).word == "pass"
    assert NAME not in json.dumps(judge(record).to_json())


def test_no_stale_answer_at_all_is_a_pass(make_record: MakeRecord) -> None:
    """In a simulation, which would have noted one; and only if something was asked."""
    record = make_record()
    record.limits |= LIMITS
    result = judge(record).kpis[-1]
    assert (result.value, result.verdict, result.samples) == (0.0, "pass", 2_000)
    for unit in record.units:
        unit.counts.pop("requests.attribution")
    assert judge(record).kpis[-1].verdict == "no-data"
    assert judge(record).code == 21


def test_with_an_answer_of_unknown_age_no_stale_one_is_no_pass(make_record: MakeRecord) -> None:
    """It may have been stale. Those that were known to be are judged as ever, and it has a row."""
    record = make_record(units=1)
    record.limits |= LIMITS
    record.units[0].counts[UNKNOWN_AGE] = 3
    assert judge(record).kpis[-1].verdict == "no-data"
    assert ("Answers of unknown age", ["3"]) in happened([record])
    assert judge(with_ages(record, 59.0, 459)).kpis[-1].verdict == "pass"


def test_that_none_was_stale_is_no_answer_where_work_piles_up(make_record: MakeRecord) -> None:
    """Behind a full isolate answers are read so late that none is, by the time it was asked for."""
    record = with_loads(make_record(), **STABLE | {"isolate": 1.5})
    record.limits |= LIMITS
    result = judge(record).kpis[-1]
    assert (result.value, result.verdict, result.samples) == (None, "alert", 2_000)


def test_a_load_test_cannot_tell(make_record: MakeRecord) -> None:
    """It has no data there, and does not count."""
    record = make_record("live")
    record.limits |= LIMITS
    result = judge(record).kpis[-1]
    assert (result.verdict, result.counts, result.advice) == ("no-data", False, STALENESS.needs)
    assert judge(record).word == "pass"


def test_a_scenario_s_limits_reach_the_record(tmp_path: Path, make_record: MakeRecord) -> None:
    """And come back from its file."""
    asked = Scenario.model_validate({"kpis": {"limits": {NAME: {"target": 5, "alert": 9}}}})
    made = make_record()
    record = new_record(asked, "simulated", 1, made.window, made.units)
    record.save(tmp_path)
    assert load(tmp_path).limits[NAME] == (5, 9)


@pytest.mark.parametrize(("p", "least"), [(0.95, MIN_SAMPLES), (0.99, 459), (0.5, 7)])
def test_how_many_samples_show_a_percentile(p: float, least: int) -> None:
    """All below the limit, by chance less than once in 100 if the percentile is above it."""
    assert least_samples(p) == least
    assert p**least < 0.01 <= p ** (least - 1)
