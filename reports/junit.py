"""The gate's verdict as JUnit XML, for whatever shows test results.

A suite a scenario and world, and in it two cases a KPI and route: its limit, and its change where
there was a baseline; and one for the loads of a simulation's parts. Missed or regressed is a
failure, no data and a run that is not valid are errors, and what is not known is skipped, with the
sentence that says what would decide it.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.etree import ElementTree as xml

from reports.gate import GateVerdict, GateWord, Judged, Rules, weight
from reports.kpis import Kpi
from reports.record import ROUTES
from reports.stability import advice, in_words, loads

_OUTCOMES: dict[GateWord, str] = {
    "wrong input": "error",
    "not valid": "error",
    "no-data": "error",
    "alert": "failure",
    "missed": "failure",
    "regressed": "failure",
    "inconclusive": "skipped",
}
_TOTALS = {"error": "errors", "failure": "failures", "skipped": "skipped"}
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(verdict: GateVerdict) -> str:
    """The whole document; equal verdicts give equal text."""
    root = xml.Element("testsuites", name="edgekpi gate")
    for judged in verdict.judged:
        _add_suite(root, judged, verdict.rules)
    _add_totals(root, list(root.iter("testcase")))
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def route_of(kpi: Kpi) -> str:
    """The route whose requests a KPI is about, or "all"."""
    return next((route for route in ROUTES if f".{route}." in f".{kpi.source}."), "all")


def _add_suite(root: xml.Element, judged: Judged, rules: Rules) -> None:
    suite = xml.SubElement(root, "testsuite", name=_clean(judged.pool.name))
    _add_properties(suite, judged)
    if judged.unusable is not None:
        word, reasons = judged.unusable
        for result in judged.verdict.kpis:
            _add_case(suite, _of_kpi(judged, result.kpi, "limit"), word, "; ".join(reasons))
    else:
        _add_answers(suite, judged, rules)
    _add_totals(suite, list(suite.iter("testcase")))


def _add_answers(suite: xml.Element, judged: Judged, rules: Rules) -> None:
    for result, change in judged.rows():
        word = weight(result.verdict, rules)
        text = f"{result.sentence()}; {result.advice}".rstrip("; ")
        _add_case(suite, _of_kpi(judged, result.kpi, "limit"), word, text, result.counts)
        if change is not None:
            word = weight(change.word, rules, change.undecided)
            case = _of_kpi(judged, result.kpi, "change")
            _add_case(suite, case, word, change.text, change.counts)
    _add_load(suite, judged)
    for reason in judged.pool.broken_off:
        _add_case(suite, _Case(judged, "all", "run to its end"), "alert", reason)


def _add_properties(suite: xml.Element, judged: Judged) -> None:
    properties = xml.SubElement(suite, "properties")
    told = {"runs": judged.pool.describe(), **judged.pool.records[0].provenance}
    for name, value in sorted(told.items()):
        xml.SubElement(properties, "property", name=_clean(name), value=_clean(str(value)))


def _add_load(suite: xml.Element, judged: Judged) -> None:
    """A case for the loads of the parts, where they were counted."""
    found, growing = loads(judged.pool.record), judged.verdict.overloaded
    if growing:
        text = f"{in_words(growing)}; {advice(growing)}"
        _add_case(suite, _Case(judged, "all", "load limit"), "alert", text)
    elif found:
        _add_case(suite, _Case(judged, "all", "load limit"), "pass", in_words(found))


class _Case(NamedTuple):
    """What a case is of."""

    judged: Judged
    route: str
    name: str


def _of_kpi(judged: Judged, kpi: Kpi, question: str) -> _Case:
    return _Case(judged, route_of(kpi), f"{kpi.name} {question}")


def _add_case(
    suite: xml.Element, of: _Case, word: GateWord, text: str, counts: bool = True
) -> None:
    pool = of.judged.pool
    where = _clean(f"{pool.scenario}.{pool.kind}.{of.route}")
    case = xml.SubElement(suite, "testcase", classname=where, name=of.name, time="0")
    message = _clean(f"{word}: {text}")
    outcome = _OUTCOMES.get(word) if counts else "skipped"
    if outcome is None:
        xml.SubElement(case, "system-out").text = message
    elif outcome == "skipped":
        xml.SubElement(case, "skipped", message=message if counts else f"not required; {message}")
    else:
        xml.SubElement(case, outcome, type=word, message=message).text = message


def _add_totals(element: xml.Element, cases: list[xml.Element]) -> None:
    element.set("tests", str(len(cases)))
    for tag, name in _TOTALS.items():
        element.set(name, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", "0")


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
