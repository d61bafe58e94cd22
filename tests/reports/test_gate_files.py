"""The gate's verdict for machines and pages: JUnit, Markdown, JSON, as their readers see it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped
from markdown_it import MarkdownIt

from reports.changes import Change
from reports.effects import parse_limits
from reports.gate import GateVerdict, Rules, gate
from reports.junit import junit_xml, route_of
from reports.kpis import BY_NAME
from reports.markdown import bar, closing, markdown
from reports.record import RunRecord
from tests.reports.conftest import STABLE, with_loads

MakeRecord = Callable[..., RunRecord]
EVIL = "<script>alert(1)</script>|`*_[x](y)\x00\x1b"


@pytest.fixture
def mixed(make_record: MakeRecord) -> GateVerdict:
    """A build of every colour: missed, no data, inconclusive, improved, unchanged."""
    new = make_record(first=6)
    for index, unit in enumerate(new.units):
        del unit.series["queue.handling"]
        unit.memory_max_bytes = (10 + index % 2) << 20
    rules = Rules(limits=parse_limits(["worker_cpu_p95=1"]))
    return gate([new], [make_record()], rules)


def suite_of(verdict: GateVerdict, tmp_path: Path) -> dict[str, object]:
    """The outcome of each case by its name, as junitparser reads the file."""
    path = tmp_path / "junit.xml"
    path.write_text(junit_xml(verdict), encoding="utf-8")
    document = JUnitXml.fromfile(str(path))
    cases = [case for suite in document for case in suite]
    assert document.tests == len(cases)
    for total, kind in (("errors", Error), ("failures", Failure), ("skipped", Skipped)):
        found = [case for case in cases if any(isinstance(one, kind) for one in case.result)]
        assert getattr(document, total) == len(found)
    return {case.name: next(iter(case.result), None) for case in cases}


# --------------------------------------------------------------------------- JUnit


def test_a_junit_reader_sees_every_case(mixed: GateVerdict, tmp_path: Path) -> None:
    """Failure, error, skipped and passed are what they are called, with their sentences."""
    cases = suite_of(mixed, tmp_path)
    assert len(cases) == 16
    missed = cases["worker_cpu_p95 limit"]
    assert isinstance(missed, Failure)
    assert missed.type in ("missed", "alert")
    assert "against < 1 ms" in missed.message
    no_data = cases["queue_processing_p95 change"]
    assert isinstance(no_data, Error)
    assert "send events" in no_data.message
    open_case = cases["d1_query_p95 change"]
    assert isinstance(open_case, Skipped | None)
    assert cases["worker_memory_max change"] is None
    assert cases["tracking_latency_p95 limit"] is None


def test_what_is_inconclusive_is_skipped_with_its_text(
    make_record: MakeRecord, tmp_path: Path
) -> None:
    """The text says why; and a rule that tolerates it lets the case pass."""
    cases = suite_of(gate([make_record()], [], Rules()), tmp_path)
    skipped = cases["d1_query_p95 change"]
    assert isinstance(skipped, Skipped)
    assert "no baseline of steady/baseline (simulated)" in skipped.message


def test_a_run_that_is_not_valid_has_errors_only(make_record: MakeRecord, tmp_path: Path) -> None:
    """Nobody should take a broken generator for a slow system."""
    record = make_record()
    record.invalid = ["load not offered"]
    cases = suite_of(gate([record], None, Rules()), tmp_path)
    assert len(cases) == 8
    for case in cases.values():
        assert isinstance(case, Error)
        assert (case.type, case.message) == ("not valid", "not valid: load not offered")


def test_a_run_that_ended_itself_has_a_case_for_it(make_record: MakeRecord, tmp_path: Path) -> None:
    """Its KPIs are told besides, and a run that went to its end has no such case."""
    record = make_record()
    assert "run to its end" not in suite_of(gate([record], None, Rules()), tmp_path)
    record.provenance["stopped_itself"] = "to spare the host"
    cases = suite_of(gate([record], None, Rules()), tmp_path)
    ended = cases["run to its end"]
    assert isinstance(ended, Failure)
    assert ended.message == "alert: to spare the host"
    assert len(cases) == 9


def test_cases_are_sorted_by_route(mixed: GateVerdict, tmp_path: Path) -> None:
    """The class of a case is scenario, world and route; a KPI of both routes says all."""
    assert route_of(BY_NAME["tracking_latency_p95"]) == "tracking"
    assert route_of(BY_NAME["attribution_latency_p95"]) == "attribution"
    assert route_of(BY_NAME["d1_query_p95"]) == "all"
    assert 'classname="steady/baseline.simulated.tracking"' in junit_xml(mixed)


def test_the_loads_of_the_parts_are_a_case(make_record: MakeRecord, tmp_path: Path) -> None:
    """Where they were counted: passed, or a failure that says what to do. The KPIs that do not wait
    for the part keep their own outcomes, in all three files."""
    stable = gate([with_loads(make_record(), **STABLE)], None, Rules())
    assert suite_of(stable, tmp_path)["load limit"] is None
    assert "the thread of D1 is asked for 0.5 s of work" in junit_xml(stable)
    late = gate([with_loads(make_record(), **STABLE | {"isolate": 1.5})], None, Rules())
    cases = suite_of(late, tmp_path)
    assert len(cases) == 9
    for name in ("load limit", "tracking_latency_p95 limit"):
        failure = cases[name]
        assert isinstance(failure, Failure)
        assert "busiest isolate is asked for 1.5 s of work a second" in failure.message
        assert failure.message.endswith("more isolates (edge.isolates_per_node), less CPU time")
    assert cases["d1_query_p95 limit"] is None
    text = markdown(late)
    assert "| `tracking_latency_p95` | < 100 ms | none | ❌ alert |" in text
    assert re.search(r"\| `d1_query_p95` \| < 50 ms \| [\d.]+ ms \[.*\] \| ✅ pass \|", text)
    assert "busiest isolate is asked for 1.5 s of work a second" in text
    told = {kpi["name"]: kpi for kpi in late.to_json()["pools"][0]["kpis"]}
    assert told["tracking_latency_p95"]["value"] is None
    assert told["d1_query_p95"]["value"] > 0


def test_names_cannot_break_the_files(make_record: MakeRecord, tmp_path: Path) -> None:
    """A scenario's name or a reason that is markup or no text at all stays text."""
    record = make_record()
    record.scenario, record.invalid = EVIL, [EVIL]
    verdict = gate([record], None, Rules())
    assert len(suite_of(verdict, tmp_path)) == 8
    html = MarkdownIt("gfm-like", {"linkify": False}).render(markdown(verdict))
    assert "<script" not in html
    assert "<a " not in html


# --------------------------------------------------------------------------- Markdown


def test_markdown_is_a_table_with_a_row_for_each_kpi(mixed: GateVerdict) -> None:
    """Eight cells in each row, bars and all, as GitHub's flavour has it."""
    html = MarkdownIt("gfm-like", {"linkify": False}).render(markdown(mixed))
    rows = [row for row in html.split("<tr>")[1:] if "<td>" in row]
    assert len(rows) == 8
    for row in rows:
        assert row.count("<td>") == 8
    assert "<code>cache_hit_ratio</code>" in rows[0]
    assert "<h2>❌ edgekpi gate: missed</h2>" in html or "gate: alert</h2>" in html
    assert "Holm over 7 comparisons" in html


def test_equal_verdicts_give_equal_text(make_record: MakeRecord) -> None:
    """Neither file holds a time or a random name."""
    one, other = (gate([make_record()], [make_record()], Rules()) for _ in range(2))
    assert markdown(one) == markdown(other)
    assert junit_xml(one) == junit_xml(other)


def drawn(change: float, interval: tuple[float, float], least: float = 0.05) -> str:
    kpi = BY_NAME["d1_query_p95"]
    return bar(Change(kpi, "unchanged", "", True, change=change, interval=interval, least=least))


def test_a_bar_shows_estimate_interval_and_least_change() -> None:
    """In the middle nothing, half-way what matters, at the ends twice that."""
    assert drawn(0.0, (-0.025, 0.025)) == "......:..===o===..:......"
    assert drawn(0.05, (0.025, 0.075)) == "......:.....|..===o===..."
    assert drawn(9.0, (1.0, 99.0)) == "......:.....|.....:.....o"
    assert drawn(-0.05, (float("-inf"), float("inf"))) == "======o=====|============"
    assert drawn(0.0, (0.0, 0.0), least=0.0) == ""


@given(st.floats(-2, 2), st.floats(0, 2), st.floats(0, 2), st.floats(0.001, 1))
def test_a_bar_is_always_as_wide(mean: float, below: float, above: float, least: float) -> None:
    """With one estimate in it, wherever that lies."""
    text = drawn(mean, (mean - below, mean + above), least)
    assert len(text) == 25
    assert text.count("o") == 1
    assert set(text) <= set(".:=|o")


def test_the_bound_is_printed_with_every_verdict(
    mixed: GateVerdict, make_record: MakeRecord
) -> None:
    """How often it errs, over how many comparisons; not where nothing was compared."""
    assert closing(mixed)[-1] == (
        "false alarms: in at most 1 % of the builds in which nothing has changed "
        "(Holm over 7 comparisons)"
    )
    alone = gate([make_record()], None, Rules())
    assert closing(alone) == ["no baseline was given: limits only, nothing compared"]


# --------------------------------------------------------------------------- JSON


def test_json_has_every_number_and_no_infinity(mixed: GateVerdict, make_record: MakeRecord) -> None:
    """Strict JSON, also where one unit a side leaves an interval without ends."""
    single = gate([make_record(units=1, first=6)], [make_record(units=1)], Rules())
    for verdict in (mixed, single):
        told = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
        assert (told["verdict"], told["code"]) == (verdict.word, verdict.code)
        assert len(told["pools"][0]["kpis"]) == 8
    d1 = told["pools"][0]["kpis"][3]["change"]
    assert (d1["interval"], d1["word"]) == ([-1.0, None], "inconclusive")
    assert "2 replications at least" in d1["text"]
