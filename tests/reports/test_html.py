"""The page: self-contained, escaped, equal for equal runs, clear about which world is which."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.html import render, write_report
from reports.record import RunRecord
from reports.verdict import judge
from tests.reports.conftest import STABLE, with_loads

MakeRecord = Callable[..., RunRecord]
EVIL = "<script>alert('x')</script>&\""
VOID = {"meta", "line", "circle", "polyline", "path"}

AGREEMENT = {
    "requests": 5807,
    "same_layers": 0.9987,
    "routes": {
        "tracking": {
            "requests": 2900,
            "simulated_p50_us": 21_800,
            "emulated_p50_us": 23_400,
            "simulated_p95_us": 120_000,
            "emulated_p95_us": 122_000,
            "paired_p50_us": -1500,
        }
    },
}


class Checker(HTMLParser):
    """Collects tags, and fails on one that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def page(*records: RunRecord) -> str:
    return render(records, [judge(record) for record in records])


def tags(text: str) -> set[str]:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker.seen


def test_it_needs_nothing_from_outside(make_record: MakeRecord) -> None:
    """No script, no link, no image, no address anywhere; well-formed."""
    text = page(make_record(), make_record("emulated"))
    assert not tags(text) & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?:|url\(|@import|src=", text)


def test_everything_foreign_is_escaped(make_record: MakeRecord) -> None:
    """Names, notes, reasons, settings and cache types may hold anything at all."""
    record = make_record(samples=100, units=1)
    record.scenario = record.scenario_sha256 = EVIL
    record.scenario_settings = {EVIL: EVIL}
    record.notes, record.invalid = [EVIL], [EVIL]
    record.provenance[EVIL] = EVIL
    record.units[0].counts.update({f"cache.{EVIL}.l1": 5, f"failure.{EVIL}": 5})
    assert "script" not in tags(page(record))


def test_which_world_is_which_stands_on_top(make_record: MakeRecord) -> None:
    """Before any number, the page says that an emulated run is not production."""
    text = page(make_record(), make_record("emulated"))
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text[text.index("<body>") :]))
    notice = plain.index("an emulated run on one machine is not production")
    assert notice < plain.index("exit code")
    assert plain.index("ran in virtual time") < plain.index("exit code")


def test_the_headline_is_the_worse_word(make_record: MakeRecord) -> None:
    """Title and pill show the worse of both runs; each has its own card."""
    text = page(make_record(), make_record("emulated", factor=1.9))
    assert "<title>steady/baseline: missed</title>" in text
    assert '<span class="pill">missed</span>' in text
    assert "exit code 0" in text
    assert "exit code 20" in text


def test_a_run_that_is_not_valid_is_not_judged(make_record: MakeRecord) -> None:
    """Its card has the reason, and no score."""
    record = make_record(units=1)
    record.invalid = ["1 of 2 workers was lost"]
    text = page(record)
    assert "not judged" in text
    assert "1 of 2 workers was lost" in text


def test_all_kpis_and_their_limits_are_there(make_record: MakeRecord) -> None:
    """The seven, error_ratio, and comparisons in typeset form."""
    record = make_record()
    text = page(record)
    for result in judge(record).kpis:
        assert f">{result.name}<" in text
    assert "\N{GREATER-THAN OR EQUAL TO}&nbsp;0.95" in text
    assert "as assumed" in text


def test_no_percentile_is_drawn_that_is_not_told(make_record: MakeRecord) -> None:
    """What waits for an overloaded part has no curve, no row of percentiles and a reason; the rest
    has all three, and so has the other world."""
    late = with_loads(make_record(), **STABLE | {"isolate": 1.5})
    text = page(late, make_record("emulated"))
    tracking, attribution, d1 = re.findall(r"<figure>.*?</figure>", text, re.S)
    for waits in (tracking, attribution):
        assert waits.count("<polyline") == 1
        assert waits.count(">none<") == 4
    assert d1.count("<polyline") == 2
    assert ">none<" not in d1
    reason = "unstable: the thread of the busiest isolate is asked for 1.5 s of work a second"
    assert text.count(f'none</span><span class="sub">{reason}') == 2
    alone = page(with_loads(make_record(), **STABLE | {"d1": 1.5}))
    assert "Percentiles" not in alone


def test_agreement_is_shown_when_both_worlds_were_paired(make_record: MakeRecord) -> None:
    """Share of equal layers, and the paired difference with its sign; absent otherwise."""
    records = [make_record(), make_record("emulated")]
    verdicts = [judge(record) for record in records]
    text = render(records, verdicts, AGREEMENT)
    assert "99.87 %" in text
    assert "\N{MINUS SIGN}1.50 ms" in text
    nothing: dict[str, Any] = {"requests": 0, "same_layers": None, "routes": {}}
    for empty in (None, nothing):
        assert "Do both worlds agree" not in render(records, verdicts, empty)


@pytest.mark.parametrize("units", [0, 1])
def test_poor_runs_can_be_shown(make_record: MakeRecord, units: int) -> None:
    """No samples, everything failed, nothing measured: a page all the same."""
    record = make_record(samples=10, units=units)
    for unit in record.units:
        unit.failed = dict.fromkeys(unit.series, 100)
        del unit.series["cpu"]
    text = page(record, make_record("live", units=0))
    tags(text)
    assert ("Percentiles" in text) == (units > 0)


def test_equal_runs_give_equal_pages_and_the_file_is_whole(
    make_record: MakeRecord, tmp_path: Path
) -> None:
    """The file holds what render gives, twice the same, with no litter beside it."""
    record = make_record(samples=100, units=1)
    path = write_report(tmp_path / "deep" / "report.html", [record], [judge(record)])
    assert path.read_text(encoding="utf-8") == page(record) == page(record)
    assert list(path.parent.iterdir()) == [path]


def test_one_city_stands_on_every_row_of_the_page(make_record: MakeRecord) -> None:
    """Beneath each verdict, and nowhere if there were two."""
    record = make_record("live")
    record.units[0].counts["city.FRA"] = 7
    assert page(record).count("as seen from FRA") == 8
    record.units[0].counts["city.AMS"] = 7
    assert "as seen from" not in page(record)
