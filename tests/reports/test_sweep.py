"""A line a value: paired differences, counts where there are any, and a warning about lifetimes."""

from __future__ import annotations

import io

import pytest

from reference_impl.profiling.hdr import Histogram
from reports.record import RunRecord
from reports.sweep import Line, hit_ratio_change, last_line, print_lines, warnings
from reports.table import make_console
from reports.verdict import judge
from sim.simulate import simulate
from tests.reports.conftest import STABLE, with_loads
from tests.sim.small import scenario


def line(value: str, hits: list[int], record: RunRecord | None = None) -> Line:
    """A line whose replications hit so often in 1,000 look-ups."""
    made = record or simulate(scenario(), 1, len(hits)).record
    for unit, part in zip(made.units, hits, strict=True):
        unit.counts.update({"cache.part": part, "cache.total": 1_000})
    return Line(value, made, judge(made))


def printed(*lines: Line) -> str:
    text = io.StringIO()
    print_lines("l1.ttl_s", lines, make_console(text))
    return text.getvalue()


def test_differences_are_paired() -> None:
    """The replications vary by 0.1, their differences hardly: the change is known well."""
    first = line("1", [800, 850, 900])
    second = line("2", [811, 860, 909])
    change = hit_ratio_change(first, second)
    assert change is not None
    assert change[0] == pytest.approx(0.01)
    assert change[1] == pytest.approx(4.3027 * 0.001 / 3**0.5, rel=1e-3)
    assert hit_ratio_change(first, first) is None
    assert hit_ratio_change(line("1", [800]), line("2", [900])) is None
    assert "+0.0100 0.0025" in printed(first, second)


def test_what_nobody_counted_is_a_dash() -> None:
    """No stale answers and no such counts are not zero; counts are of all replications."""
    bare, full = line("1", [900, 900]), line("2", [900, 900])
    for unit in bare.record.units:
        for name in ("d1.reads", "kv.writes", "kv.own_writes_unseen"):
            unit.counts.pop(name, None)
        unit.series.pop("staleness.age", None)
    ages = Histogram()
    ages.record_many([seconds * 1_000_000 for seconds in range(1, 101)])
    full.record.units[0].series["staleness.age"] = ages
    for unit in full.record.units:
        unit.counts.update({"d1.reads": 1_200, "kv.writes": 34, "kv.own_writes_unseen": 0})
    told = [one.to_json("l1.ttl_s", bare) for one in (bare, full)]
    names = ("staleness_p99_s", "d1.reads", "kv.writes", "kv.own_writes_unseen")
    assert [told[0][name] for name in names] == [None, None, None, None]
    assert told[1]["staleness_p99_s"] == pytest.approx(99, rel=0.001)
    assert [told[1][name] for name in names[1:]] == [2_400, 68, 0]
    rows = [row.split() for row in printed(bare, full).splitlines()]
    assert rows[2][-5:-1] == ["-", "-", "-", "-"]
    assert rows[3][-6:-1] == ["99.0", "s", "0", "2,400", "68"]


def test_what_waits_for_an_overloaded_part_is_none() -> None:
    """The age of stale answers too, which no KPI judges here; the others keep their numbers."""
    late = line("1", [990, 990])
    for unit in late.record.units:
        unit.series["staleness.age"] = Histogram()
        unit.series["staleness.age"].record(5_000_000)
    with_loads(late.record, **STABLE | {"consumers": 1.5})
    late = line("1", [990, 990], late.record)
    told = late.to_json("queue.max_concurrency", late)
    assert (told["staleness_p99_s"], told["verdict"]["verdict"]) == (None, "alert")
    assert told["tracking_latency_p95"] > 0
    row = printed(late).splitlines()[2].split()
    assert (row[-5], row[-1]) == ("none", "alert")
    assert row.count("none") == 1
    assert last_line([late]) == "0 of 1 values meet the targets"


def test_a_line_is_a_line() -> None:
    """Also in a log, whose width is fixed."""
    lines = [line(value, [900, 910]) for value in ("5", "3600")]
    assert len(printed(*lines).split("\n\n")[0].splitlines()) == 4


@pytest.mark.parametrize(
    ("path", "limits", "warned"),
    [
        ("l1.ttl_s", [], True),
        ("kv.expiration_ttl_s.attribution", ["d1_query_p95"], True),
        ("kv.cache_ttl_s", ["staleness_p99_s"], False),
        ("workload.attribution.rate_per_s", [], False),
    ],
)
def test_a_longer_life_always_wins(path: str, limits: list[str], warned: bool) -> None:
    """Unless somebody says how old an answer may be."""
    found = warnings(path, limits)
    assert len(found) == warned
    assert not warned or "the longer one then always wins" in found[0]


def test_which_values_are_good() -> None:
    """By the verdict of each."""
    lines = [line("5", [100, 100]), line("10", [100, 100])]
    assert last_line(lines) == "0 of 2 values meet the targets"
