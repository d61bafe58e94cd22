"""The gate: both questions of each KPI, the words, their order, and what nothing passes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from reference_impl.profiling.hdr import Histogram
from reports.changes import Change
from reports.effects import parse_limits, parse_min_effects
from reports.gate import GateVerdict, Rules, gate
from reports.record import RunRecord, sha256
from tests.reports.conftest import STABLE, with_loads

MakeRecord = Callable[..., RunRecord]
D1 = "d1_query_p95"


def change(verdict: GateVerdict, name: str = D1) -> Change:
    """What the first pool's comparison says of one KPI."""
    (found,) = [one for one in verdict.judged[0].changes if one.kpi.name == name]
    return found


def words(verdict: GateVerdict) -> dict[str, str]:
    """The word of each KPI against the baseline, in the first pool."""
    return {one.kpi.name: one.word for one in verdict.judged[0].changes}


def slower(
    record: RunRecord, factors: Sequence[float] | float, series: str = "d1.request"
) -> RunRecord:
    """The record with one series slower by a factor for each unit."""
    each = [factors] * len(record.units) if isinstance(factors, float) else factors
    for unit, factor in zip(record.units, each, strict=True):
        old = unit.series[series]
        ranks = [old.value_at_rank(rank) for rank in range(1, old.count + 1)]
        unit.series[series] = Histogram()
        unit.series[series].record_many([round(value * factor) for value in ranks])
    return record


# --------------------------------------------------------------------------- the two questions


def test_without_a_baseline_there_are_limits_only(make_record: MakeRecord) -> None:
    """The verdict of the run itself, and a line that says so."""
    verdict = gate([make_record()], None, Rules())
    assert (verdict.word, verdict.code, verdict.comparisons) == ("pass", 0, 0)
    assert verdict.notes == ("no baseline was given: limits only, nothing compared",)
    assert verdict.last_line == "0 pass all 8 limits met; no baseline; nothing to do"
    assert verdict.judged[0].changes == ()


def test_the_same_run_again_is_unchanged_and_proven(make_record: MakeRecord) -> None:
    """Equal seeds, every sample equal: no statistics needed, of one replication as of five."""
    for units in (1, 5):
        verdict = gate([make_record(units=units)], [make_record(units=units)], Rules())
        assert (verdict.word, verdict.code, verdict.comparisons) == ("pass", 0, 8)
        assert set(words(verdict).values()) == {"unchanged"}
        assert all(one.proven for one in verdict.judged[0].changes)
        assert verdict.last_line == "0 pass all 8 limits met; 8 unchanged"


def test_one_sample_more_is_not_proven_any_more(make_record: MakeRecord) -> None:
    """The value is the same, but the samples are not: then it is tested like anything else."""
    new = make_record()
    new.units[0].series["d1.request"].record(1)
    found = change(gate([new], [make_record()], Rules()))
    assert (found.proven, found.word) == (False, "unchanged")


def test_slower_beyond_the_least_change_is_regressed(make_record: MakeRecord) -> None:
    """Paired seeds see 10 % at once; the other KPIs stay proven; the line says how much."""
    new = slower(make_record(), [1.10, 1.11, 1.09, 1.10, 1.10])
    verdict = gate([new], [make_record()], Rules())
    assert (verdict.word, verdict.code) == ("regressed", 20)
    assert verdict.judged[0].verdict.word == "pass"
    found = change(verdict)
    assert found.change == pytest.approx(0.10, abs=0.005)
    assert found.strict is not None
    assert found.strict[0] > 0
    assert found.strict[0] < found.interval[0] < found.interval[1] < found.strict[1]  # type: ignore[index]
    assert verdict.last_line.startswith("20 regressed d1_query_p95: +10.")
    assert "seed by seed over 5 seeds; excludes zero at" in verdict.last_line
    others = {word for name, word in words(verdict).items() if name != D1}
    assert others == {"unchanged"}


def test_faster_beyond_the_least_change_is_improved(make_record: MakeRecord) -> None:
    """That is good, and the build goes through."""
    new = slower(make_record(), [0.90, 0.91, 0.89, 0.90, 0.90])
    verdict = gate([new], [make_record()], Rules())
    assert (verdict.word, change(verdict).word) == ("pass", "improved")
    assert verdict.last_line == "0 pass all 8 limits met; 1 improved, 7 unchanged"


def test_a_sure_change_that_is_too_small_to_matter_is_unchanged(make_record: MakeRecord) -> None:
    """2 % is seen without doubt, and 5 % is what matters; with 1 % as the least it is regressed."""
    new = slower(make_record(), 1.02)
    found = change(gate([new], [make_record()], Rules()))
    assert found.strict is not None
    assert (found.word, found.strict[0] > 0) == ("unchanged", True)
    assert "worse by 5 % is excluded" in found.text
    strict = Rules(least=parse_min_effects(["d1_query_p95=1%"]))
    assert change(gate([new], [make_record()], strict)).word == "regressed"


def test_one_per_cent_is_caught_with_paired_seeds(make_record: MakeRecord) -> None:
    """Under a least change of 0.5 %, whichever latency it is, ten seeds."""
    rules = Rules(least=parse_min_effects(["0.5%"]))
    for series in ("d1.request", "queue.handling", "cpu", "latency.tracking.intended"):
        new = slower(make_record(units=10), 1.01, series)
        assert gate([new], [make_record(units=10)], rules).word == "regressed", series


def test_a_large_change_of_which_nothing_is_sure_is_inconclusive(make_record: MakeRecord) -> None:
    """More than matters on average, but it differs from seed to seed; so many more would decide."""
    new = slower(make_record(), [1.00, 1.35, 0.95, 1.20, 1.05])
    verdict = gate([new], [make_record()], Rules())
    found = change(verdict)
    assert (verdict.word, verdict.code, found.undecided) == ("inconclusive", 21, True)
    assert found.more is not None
    assert f"about {found.more} replications a side would decide" in verdict.last_line
    assert f"(--replications {found.more})" in verdict.last_line


def test_the_hit_ratio_counts_downwards(make_record: MakeRecord) -> None:
    """Fewer hits are worse, more are better, by points."""
    for step, word in ((-30, "regressed"), (8, "improved"), (-1, "unchanged")):
        new = make_record()
        for unit in new.units:
            unit.counts["cache.part"] += step
        found = change(gate([new], [make_record()], Rules()), "cache_hit_ratio")
        assert found.word == word, step
        assert found.change == pytest.approx(step / 800)


def test_errors_that_come_up_are_regressed(make_record: MakeRecord) -> None:
    """From none to one in 200, with the limit's own word worse still."""
    new = make_record(samples=1000)
    for unit in new.units:
        unit.counts["errors.part"] = 10
    verdict = gate([new], [make_record(samples=1000)], Rules())
    assert change(verdict, "error_ratio").word == "regressed"
    assert verdict.last_line.startswith("20 missed error_ratio")


# --------------------------------------------------------------------------- real time


def runs(make: MakeRecord, factors: Sequence[float], first: int) -> list[RunRecord]:
    """Runs in real time with these factors on all their latencies, each of other requests."""
    return [make("live", factor=f, first=first + 10 * n) for n, f in enumerate(factors)]


def test_one_run_against_one_never_decides(make_record: MakeRecord) -> None:
    """Not even a factor of 1.5: it may be drift between runs. The interval says what it is."""
    new, old = runs(make_record, [1.5], 1), runs(make_record, [1.0], 500)
    verdict = gate(new, old, Rules())
    found = change(verdict)
    assert (found.word, verdict.code) == ("inconclusive", 21)
    assert "5 blocks of one run against 5 of another; within-run only" in found.text
    assert any("its intervals are within-run only" in note for note in verdict.notes)


def test_drift_between_runs_is_part_of_the_interval(make_record: MakeRecord) -> None:
    """Runs that differ by 15 % of themselves do not show 10 %; a factor of 4 they do."""
    draws = np.random.Generator(np.random.Philox(5))
    old = runs(make_record, np.exp(0.15 * draws.standard_normal(10)).tolist(), 500)
    rules = Rules(limits=parse_limits([f"{D1}=500:500"]))
    assert change(gate(runs(make_record, [1.1], 1), old, rules)).word == "inconclusive"
    assert change(gate(runs(make_record, [4.0], 1), old, rules)).word == "regressed"


def test_a_small_baseline_of_runs_is_told(make_record: MakeRecord) -> None:
    """Two against three can be computed, but knows little."""
    verdict = gate(runs(make_record, [1, 1], 1), runs(make_record, [1, 1, 1], 500), Rules())
    assert any("a baseline of 3 runs knows little" in note for note in verdict.notes)


# --------------------------------------------------------------------------- nothing passes


def asked(record: RunRecord, **settings: Any) -> RunRecord:
    record.scenario_settings = {**record.scenario_settings, **settings}
    record.scenario_sha256 = sha256(record.scenario_settings)
    return record


def test_a_missing_baseline_is_inconclusive(make_record: MakeRecord) -> None:
    """Other scenarios' baselines are no help; allowing noise does not allow it."""
    other = make_record()
    other.scenario = "other"
    for allow in (frozenset(), frozenset({"inconclusive", "versions"})):
        verdict = gate([make_record()], [other], Rules(allow=allow))  # type: ignore[arg-type]
        assert verdict.code == 21
        assert (
            "no baseline of steady/baseline (simulated) is among those given" in verdict.last_line
        )
        assert verdict.notes == ("other (simulated): a baseline, but no run",)


def test_another_question_is_inconclusive(make_record: MakeRecord) -> None:
    """Even where every sample is equal; the setting is named."""
    new = asked(make_record(), d1={"commit": 1})
    verdict = gate([new], [make_record()], Rules(allow=frozenset({"inconclusive", "versions"})))
    assert verdict.code == 21
    assert "was asked another question: d1.commit is 1, was nothing" in verdict.last_line


def test_another_make_is_inconclusive_unless_allowed(make_record: MakeRecord) -> None:
    """Then it is compared all the same, and a note says across what."""
    old = make_record()
    old.provenance["sqlite"] = "3.0"
    verdict = gate([make_record()], [old], Rules())
    assert verdict.code == 21
    assert "is of another make: sqlite is 3.54.1, was 3.0" in verdict.last_line
    verdict = gate([make_record()], [old], Rules(allow=frozenset({"versions"})))
    assert verdict.code == 0
    assert "compared across makes: sqlite is 3.54.1, was 3.0" in verdict.notes[0]
    regressed = gate([slower(make_record(), 1.2)], [old], Rules(allow=frozenset({"versions"})))
    assert regressed.word == "regressed"


def test_an_empty_histogram_is_no_data(make_record: MakeRecord) -> None:
    """A KPI of which there are no samples, on either side."""
    new = make_record()
    for unit in new.units:
        unit.series["d1.request"] = Histogram()
    verdict = gate([new], [make_record()], Rules())
    assert (verdict.word, verdict.code) == ("no-data", 21)
    assert change(verdict).word == "no-data"
    verdict = gate([make_record()], [new], Rules())
    assert (verdict.word, verdict.code) == ("inconclusive", 21)
    assert "the baseline did not measure it" in verdict.last_line


def test_a_missing_kpi_is_no_data(make_record: MakeRecord) -> None:
    """A series that nobody recorded says what to add."""
    new = make_record()
    for unit in new.units:
        del unit.series["queue.handling"]
    verdict = gate([new], [make_record()], Rules(allow=frozenset({"inconclusive"})))
    assert (verdict.word, verdict.code) == ("no-data", 21)
    assert "queue_processing_p95" in verdict.last_line
    assert "send events" in verdict.last_line


def test_what_is_not_required_does_not_decide(make_record: MakeRecord) -> None:
    """Neither its limit nor its change; and it takes no share of alpha."""
    new = slower(make_record(), 3.0)
    new.required.remove(D1)
    verdict = gate([new], [make_record()], Rules())
    assert (verdict.word, verdict.comparisons) == ("pass", 7)
    assert change(verdict).word == "regressed"


def test_units_without_a_percentile_are_inconclusive(make_record: MakeRecord) -> None:
    """Too few samples in one replication, or too many failures, and the line says which."""
    few = make_record()
    few.units[2].series["d1.request"] = Histogram()
    few.units[2].series["d1.request"].record_many([14_000] * 19)
    found = change(gate([few], [make_record()], Rules()))
    assert found.text == "one of the replications has 19 samples of it, 20 are needed"
    failing = make_record()
    failing.units[2].failed["d1.request"] = 50
    found = change(gate([failing], [make_record()], Rules()))
    assert found.text == "one of the replications has over 5 % of its samples failed"


def test_a_percentile_lost_to_failures_or_overload_is_not_compared(make_record: MakeRecord) -> None:
    """Equal or not: where there is no value, nothing is unchanged. The limit is on alert."""
    failing, overloaded = make_record(), make_record()
    for unit in failing.units:
        unit.failed["d1.request"] = 50
    for unit in overloaded.units:
        unit.counts.update({"load.d1.asked_us": 2_000_000, "load.d1.window_us": 1_000_000})
    for record, why in ((failing, "250 of 2250 samples failed"), (overloaded, "unstable: ")):
        assert f"no value here: {why}" in change(gate([record], [record], Rules())).text
        verdict = gate([make_record()], [record], Rules())
        assert f"no value in the baseline: {why}" in verdict.last_line
        assert (verdict.word, gate([record], None, Rules()).word) == ("inconclusive", "alert")


def test_a_part_with_too_much_to_do_takes_only_what_waits_for_it(make_record: MakeRecord) -> None:
    """The other KPIs are compared; no rule lets such a build through, and a note says why."""
    late, before = (
        with_loads(make_record(), **STABLE | {"consumer_isolate": 1.2}),
        with_loads(make_record(), **STABLE),
    )
    record = with_loads(make_record(factor=1.2, first=6), **STABLE)
    verdict = gate([late], [before], Rules(fail_on="alert", allow=frozenset({"inconclusive"})))
    assert (verdict.word, verdict.code) == ("alert", 20)
    assert verdict.last_line.startswith(
        "20 alert the thread of the consumers' isolate is asked for 1.2 s of work a second"
        " [1.2, 1.2], so work piles up there; ask less of it: larger batches (queue.batch_size)"
    )
    assert change(verdict).proven
    assert "no value here: unstable: the thread of the consumers' isolate" in (
        change(verdict, "queue_processing_p95").text
    )
    assert [note for note in verdict.notes if "has no number (queue processing" in note]
    assert verdict.to_json()["pools"][0]["overloaded"] == [
        {"part": "consumer_isolate", "load": 1.2, "interval": [1.2, 1.2]}
    ]
    assert change(gate([record], [late], Rules())).word == "regressed"


# --------------------------------------------------------------------------- rules


def test_an_old_run_is_judged_by_a_stricter_limit(make_record: MakeRecord) -> None:
    """Without running it again, and without touching its record."""
    record = make_record()
    verdict = gate([record], None, Rules(limits=parse_limits([f"{D1}=10"])))
    assert (verdict.word, verdict.code) == ("missed", 20)
    assert "against < 10 ms" in verdict.last_line
    assert record == make_record()


def test_a_kpi_with_a_limit_given_counts(make_record: MakeRecord) -> None:
    """Whoever names a limit wants it held, whatever the scenario required; also where there was
    none before, as of the age of stale answers."""
    record = make_record()
    record.required.remove(D1)
    assert gate([record], None, Rules(limits=parse_limits([f"{D1}=10"]))).word == "missed"
    aged = gate([record], None, Rules(limits=parse_limits(["staleness_p99_s=30"])))
    assert [result.name for result, _ in aged.judged[0].rows()][-1] == "staleness_p99_s"
    assert aged.last_line.startswith("0 pass all 8 limits met")


def test_only_alerts_stop_the_build_if_asked(make_record: MakeRecord) -> None:
    """A missed target is told, and goes through; beyond the alert it does not."""
    rules = Rules(limits=parse_limits([f"{D1}=10"]), fail_on="alert")
    verdict = gate([make_record()], None, rules)
    assert (verdict.word, verdict.code) == ("pass", 0)
    assert verdict.last_line == "0 pass 7 of 8 limits met; no baseline; 1 missed"
    rules = Rules(limits=parse_limits([f"{D1}=10:12"]), fail_on="alert")
    assert gate([make_record()], None, rules).word == "alert"


def test_noise_goes_through_if_allowed(make_record: MakeRecord) -> None:
    """What more data would decide; and the line says how much of it there is."""
    new = slower(make_record(), [1.00, 1.35, 0.95, 1.20, 1.05])
    verdict = gate([new], [make_record()], Rules(allow=frozenset({"inconclusive"})))
    assert verdict.code == 0
    assert verdict.last_line == "0 pass all 8 limits met; 1 inconclusive, 7 unchanged"


def test_all_kpis_of_all_scenarios_share_one_alpha(make_record: MakeRecord) -> None:
    """Sixteen comparisons: each has to be surer than if it were alone."""

    def record(name: str) -> RunRecord:
        made = slower(make_record(), [1.0, 1.01, 1.0, 0.99, 1.01])
        made.scenario = name
        return made

    def old(name: str) -> RunRecord:
        made = make_record()
        made.scenario = name
        return made

    one = gate([record("a")], [old("a")], Rules())
    two = gate([record("a"), record("b")], [old("a"), old("b")], Rules())
    assert (one.comparisons, two.comparisons) == (8, 16)
    assert change(one).level == 2 * (change(two).level or 0) == pytest.approx(0.005 / 8)
    assert [judged.pool.scenario for judged in two.judged] == ["a", "b"]


def test_the_worst_word_decides(make_record: MakeRecord) -> None:
    """Alert over missed over regressed over no data; and others of the same word are counted."""
    new = slower(slower(make_record(), 1.2), 1.2, "queue.handling")
    verdict = gate([new], [make_record()], Rules())
    assert verdict.last_line.startswith("20 regressed d1_query_p95")
    assert verdict.last_line.endswith("(and 1 more)")
    limits = parse_limits(["worker_cpu_p95=1"])
    assert gate([new], [make_record()], Rules(limits=limits)).word == "missed"
    limits = parse_limits(["worker_cpu_p95=1:2"])
    assert gate([new], [make_record()], Rules(limits=limits)).word == "alert"
