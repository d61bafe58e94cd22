"""The judge: each rule once, the order of words, the last line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from reference_impl.profiling.hdr import Histogram
from reports.record import RunRecord, Unit
from reports.verdict import CODES, KpiResult, Verdict, judge, worse
from tests.reports.conftest import STABLE, with_loads

MakeRecord = Callable[..., RunRecord]
D1 = "d1_query_p95"


def result(record: RunRecord, name: str = D1) -> KpiResult:
    (found,) = [kpi for kpi in judge(record).kpis if kpi.name == name]
    return found


def with_d1(record: RunRecord, units_ms: Sequence[Sequence[float]], failed: int = 0) -> RunRecord:
    """The record with these D1 samples, a list a unit; the failed ones in the first."""
    while len(record.units) < len(units_ms):
        record.units.append(Unit())
    for unit, values in zip(record.units, units_ms, strict=True):
        unit.series["d1.request"] = Histogram()
        unit.series["d1.request"].record_many([round(value * 1000) for value in values])
    record.units[0].failed["d1.request"] = failed
    return record


def around(middle_ms: float, spread_ms: float, samples: int = 200) -> list[float]:
    """Samples evenly spread around a value."""
    return [float(ms) for ms in np.linspace(middle_ms - spread_ms, middle_ms + spread_ms, samples)]


def test_a_good_run_passes_with_code_0(make_record: MakeRecord) -> None:
    """All eight pass, and the last line says so."""
    verdict = judge(make_record())
    assert (verdict.word, verdict.code) == ("pass", 0)
    assert {kpi.verdict for kpi in verdict.kpis} == {"pass"}
    assert verdict.last_line == "0 pass all 8 KPIs that count: targets met; nothing to do"


@pytest.mark.parametrize(
    ("units_ms", "word"),
    [
        ([[40] * 100], "pass"),
        ([[70] * 100], "missed"),
        ([[120] * 100], "alert"),
        ([[40] * 89], "inconclusive"),
        ([[40] * 90], "pass"),
        ([[]], "no-data"),
        ([around(30, 22)], "inconclusive"),
        ([[40] * 100, [41] * 100, [42] * 100], "pass"),
        ([[40] * 100, [60] * 100], "inconclusive"),
    ],
)
def test_one_kpi_gets_its_word(
    make_record: MakeRecord, units_ms: Sequence[Sequence[float]], word: str
) -> None:
    """Target 50, alert 100: each rule of the module's list, once."""
    record = with_d1(make_record(units=len(units_ms)), units_ms)
    assert result(record).verdict == word
    assert judge(record).word == word


def test_over_five_percent_failed_is_none_and_alert(make_record: MakeRecord) -> None:
    """6 of 100 failed: no value, no interval, alert; 5 of 100: a value, open above."""
    record = with_d1(make_record(units=1), [[40] * 94], failed=6)
    found = result(record)
    assert (found.value, found.interval, found.verdict) == (None, None, "alert")
    assert (
        "d1_query_p95: P95 none (6 of 100 samples failed) against < 50 ms"
        in judge(record).last_line
    )
    found = result(with_d1(make_record(units=1), [[40] * 95], failed=5))
    assert (found.value, found.verdict) == (40.0, "inconclusive")
    assert found.to_json()["interval"] == [40.0, None]
    assert found.advice.startswith("more samples or fewer failures")


def test_few_samples_say_how_many_are_missing(make_record: MakeRecord) -> None:
    """30 samples: 60 more."""
    found = result(with_d1(make_record(units=1), [[40] * 30]))
    assert found.advice.startswith("at least 60 more samples")


def test_crossing_replications_say_how_many_more(make_record: MakeRecord) -> None:
    """P95 48 ms, 2 ms from its target, s = 3.16 ms: 12 would give 2.01 ms, 13 give 1.91 ms."""
    record = with_d1(make_record(), [[middle] * 100 for middle in (44, 45, 46, 47, 48)])
    assert result(record).interval == pytest.approx((46.04, 49.96), abs=0.01)
    record = with_d1(make_record(), [[middle] * 100 for middle in (40, 42, 44, 46, 48)])
    assert result(record).value == 48.0
    assert result(record).advice == ("about 8 more replications would decide (--replications 13)")


def test_crossing_samples_say_how_much_longer(make_record: MakeRecord) -> None:
    """A single run asks for samples and a longer window; blocks of a load test do, too."""
    advice = result(with_d1(make_record(units=1), [around(30, 21.5)])).advice
    assert "more samples would decide: a window" in advice
    record = with_d1(make_record("emulated", units=2), [[44] * 100, [46] * 100])
    assert "more samples" in result(record).advice


def test_a_value_on_its_target_is_hopeless(make_record: MakeRecord) -> None:
    """No number of samples is promised when the distance is next to nothing."""
    record = with_d1(make_record(units=2), [[40] * 100, [50] * 100])
    record.limits[D1] = (result(record).value or 0, 100)
    assert "over 100 times the samples" in result(record).advice


def test_limits_of_the_record_are_the_ones_that_count(make_record: MakeRecord) -> None:
    """A scenario that allows more, gets more."""
    record = with_d1(make_record(units=1), [[70] * 100])
    record.limits[D1] = (80, 90)
    assert (result(record).verdict, result(record).target) == ("pass", 80)


@pytest.mark.parametrize(
    ("hits", "word"), [(990, "pass"), (900, "missed"), (800, "alert"), (952, "inconclusive")]
)
def test_hit_ratio_is_judged_by_its_interval(make_record: MakeRecord, hits: int, word: str) -> None:
    """Target 0.95 from above, alert below 0.85, by Clopper-Pearson of 1000 look-ups."""
    record = make_record(units=1)
    record.units[0].counts.update({"cache.part": hits, "cache.total": 1000})
    assert result(record, "cache_hit_ratio").verdict == word


def test_look_ups_that_tell_nothing_are_no_data(make_record: MakeRecord) -> None:
    """A server without Cache-Status has no hit ratio; a few unknown ones count against it."""
    record = make_record(units=1)
    counts = record.units[0].counts
    counts.update({"cache.part": 0, "cache.total": 1000, "cache.unknown": 1000})
    assert result(record, "cache_hit_ratio").verdict == "no-data"
    counts["cache.unknown"] = 900
    assert result(record, "cache_hit_ratio").verdict == "alert"


@pytest.mark.parametrize(("mib", "word"), [(127, "pass"), (128, "alert"), (None, "no-data")])
def test_memory_is_compared_plainly(make_record: MakeRecord, mib: int | None, word: str) -> None:
    """The largest unit decides; there is nothing between target and alert."""
    record = make_record(units=2)
    record.units[0].memory_max_bytes = None
    record.units[1].memory_max_bytes = None if mib is None else mib * 2**20
    assert result(record, "worker_memory_max").verdict == word


def test_frozen_timers_are_no_data(make_record: MakeRecord) -> None:
    """Zero CPU in every sample is not 0 ms; a single other sample makes it a measurement."""
    record = make_record(units=1)
    record.units[0].series["cpu"] = Histogram()
    record.units[0].series["cpu"].record_many([0] * 200)
    verdict = judge(record)
    assert verdict.last_line.startswith(
        "21 no-data worker_cpu_p95: every sample is 0, its timers were frozen; measure CPU"
    )
    record.units[0].series["cpu"].record(5)
    assert result(record, "worker_cpu_p95").verdict == "pass"


@pytest.mark.parametrize(
    ("failed", "word"), [(0, "pass"), (1, "pass"), (5, "missed"), (11, "alert")]
)
def test_error_ratio_is_judged_by_its_value(
    make_record: MakeRecord, failed: int, word: str
) -> None:
    """1 of 1000 still passes although its interval reaches further."""
    record = make_record(units=1)
    record.units[0].counts.update({"errors.part": failed, "errors.total": 1000})
    assert result(record, "error_ratio").verdict == word
    assert judge(record).word == word


def test_error_ratio_without_requests_does_not_count(make_record: MakeRecord) -> None:
    """It is shown as no-data; with nothing required, a run without requests is no-data as well."""
    record = make_record(units=1)
    record.units[0].counts["errors.total"] = 0
    found = result(record, "error_ratio")
    assert (found.verdict, found.counts) == ("no-data", False)
    assert judge(record).word == "pass"
    record.required = []
    assert judge(record).code == 21


def test_kpis_that_are_not_required_are_shown_only(make_record: MakeRecord) -> None:
    """A miss among them does not fail the run."""
    record = with_d1(make_record(units=1), [[70] * 100])
    record.required.remove(D1)
    assert (result(record).verdict, result(record).counts, judge(record).code) == (
        "missed",
        False,
        0,
    )


def test_the_last_line_is_code_word_kpi_and_next_step(make_record: MakeRecord) -> None:
    """As the contract's example has it."""
    record = with_d1(make_record(units=1), [[71.2] * 100])
    assert judge(record).last_line == (
        "20 missed d1_query_p95: P95 71.2 ms against < 50 ms;"
        " see the D1 wait and SQL rows of the report"
    )


def test_errors_are_named_first_among_equals(make_record: MakeRecord) -> None:
    """They explain the rest; the others of the same word follow."""
    record = with_d1(make_record(units=1), [[200] * 100])
    record.units[0].counts["errors.part"] = 400
    assert judge(record).last_line.startswith(
        "20 alert error_ratio: ratio 0.5000 against <= 0.001 (also d1_query_p95); see the failures"
    )


def test_a_part_with_too_much_to_do_is_named_before_errors(make_record: MakeRecord) -> None:
    """It explains them; what does not wait for it is judged by its value."""
    record = with_loads(make_record(units=1), **STABLE | {"isolate": 1.4})
    record.units[0].counts["errors.part"] = 400
    assert judge(record).last_line == (
        "20 alert tracking_latency_p95: P95 none (unstable: the thread of the busiest isolate is"
        " asked for 1.4 s of work a second) against < 100 ms (also attribution_latency_p95,"
        " error_ratio); ask less of it: more isolates (edge.isolates_per_node), less CPU time"
    )
    words = {kpi.name: (kpi.verdict, kpi.value is None) for kpi in judge(record).kpis}
    assert words["tracking_latency_p95"] == words["attribution_latency_p95"] == ("alert", True)
    assert words[D1] == words["queue_processing_p95"] == ("pass", False)


def test_a_run_with_too_much_to_do_somewhere_does_not_pass(make_record: MakeRecord) -> None:
    """Though no KPI waits there, or none of those that count: it is on alert and names the part."""
    late = with_loads(make_record(units=1), **STABLE | {"consumers": 1.5})
    assert {kpi.verdict for kpi in judge(late).kpis} == {"pass"}
    assert judge(late).last_line == (
        "20 alert all KPIs: whatever they show, each consumer of the queue is asked for 1.5 s of"
        " work a second, so work piles up there; ask less of it: more consumers"
        " (queue.max_concurrency), larger batches (queue.batch_size)"
    )
    late.units[0].counts["errors.part"] = 400
    assert "piles up there (also error_ratio); ask" in judge(late).last_line
    record = with_loads(make_record(units=1), **STABLE | {"d1": 1.5})
    record.required = ["cache_hit_ratio"]
    assert judge(record).last_line.startswith("20 alert all KPIs: whatever they show, the thread")
    record.invalid = ["interrupted"]
    assert judge(record).word == "not valid"


def test_an_invalid_run_is_not_valid_whatever_it_measured(make_record: MakeRecord) -> None:
    """The generator's failure outranks any KPI, and the line says what it was."""
    record = with_d1(make_record(units=1), [[200] * 100])
    record.invalid = ["1 of 2 workers was lost", "counts differ"]
    verdict = judge(record)
    assert (verdict.word, verdict.code) == ("not valid", 22)
    assert verdict.last_line.startswith("22 not valid all KPIs: 1 of 2 workers was lost; counts")


def test_failure_outranks_missing_evidence(make_record: MakeRecord) -> None:
    """20 before 21: a missed KPI is a result although another one has no data."""
    record = with_d1(make_record(units=1), [[70] * 100])
    del record.units[0].series["cpu"]
    assert judge(record).word == "missed"


def test_worse_follows_the_order_of_the_contract(make_record: MakeRecord) -> None:
    """23, 22, 20 (alert first), 21, 0; equal words keep the first."""
    assert [CODES[word] for word in CODES] == [23, 22, 20, 20, 21, 21, 0]
    good = judge(make_record(units=1))
    record = make_record(units=1)
    del record.units[0].series["cpu"]
    empty = judge(record)
    failed = judge(with_d1(make_record(units=1), [[70] * 100]))
    assert [worse(a, b) for a, b in ((good, empty), (empty, failed), (failed, good))] == [
        empty,
        failed,
        failed,
    ]
    twin: Verdict = judge(make_record(units=1))
    assert worse(good, twin) is good


def test_json_has_the_fields_of_the_contract_and_no_other(make_record: MakeRecord) -> None:
    """Field names, the seven plus error_ratio, rounding, and plain JSON."""
    data = judge(make_record()).to_json()
    assert list(data) == ["scenario", "kind", "verdict", "kpis"]
    assert len(data["kpis"]) == 8
    for kpi in data["kpis"]:
        assert list(kpi) == [
            "name", "value", "interval", "unit", "target", "alert", "verdict", "samples",
            "failed", "basis",
        ]  # fmt: skip
        assert kpi["value"] == round(kpi["value"], 6 if kpi["unit"] == "ratio" else 3)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["kpis"][6]["basis"] == "input"


def test_a_run_that_ended_itself_has_the_word_that_it_earned(make_record: MakeRecord) -> None:
    """Wrong input before all else, not valid before the alert; the reason is the last line's."""
    record = make_record("live")
    record.provenance["stopped_itself"] = "to spare the host"
    assert (judge(record).word, judge(record).code) == ("alert", 20)
    assert judge(record).last_line.startswith("20 alert all KPIs: to spare the host")
    record.invalid = ["interrupted"]
    assert judge(record).code == 22
    record.provenance["wrong_input"] = "no such IDs"
    assert judge(record).last_line == "23 wrong input all KPIs: no such IDs"


def test_one_city_is_where_every_kpi_was_seen_from(make_record: MakeRecord) -> None:
    """Of two, none is."""
    record = make_record("live")
    assert {kpi.seen_from for kpi in judge(record).kpis} == {""}
    record.units[0].counts["city.FRA"] = 7
    assert {kpi.seen_from for kpi in judge(record).kpis} == {"FRA"}
    record.units[0].counts["city.AMS"] = 1
    assert {kpi.seen_from for kpi in judge(record).kpis} == {""}
