"""What a self-test of the gate concludes from its counts: bounds, words, lines."""

from __future__ import annotations

import json

import pytest
from scipy import stats

from reports.kpis import BY_NAME
from sim.error_rates import Alarms, Power, Rates, Reached, SelfTest

D1 = BY_NAME["d1_query_p95"]


def rates(stopped: int, pairs: int = 1000, caught: int = 30, replications: int = 3) -> Rates:
    """These counts, in one way of judging and for one KPI."""
    alarms = [Alarms("two samples", replications, pairs, stopped)]
    return Rates("the rules", alarms, [Power(D1, 20, 0.1, 30, caught)])


def found(stopped: int, pairs: int = 1000, caught: int = 30) -> SelfTest:
    """A self-test with these counts under one set of least changes."""
    return SelfTest(0.01, [rates(stopped, pairs, caught)])


@pytest.mark.parametrize(("stopped", "of"), [(0, 1000), (4, 1000), (3, 10), (10, 10)])
def test_bounds_are_those_of_clopper_and_pearson(stopped: int, of: int) -> None:
    """One-sided, 95 %, as another library has them."""
    told = stats.binomtest(stopped, of)
    upper = told.proportion_ci(0.90, "exact").high
    lower = told.proportion_ci(0.90, "exact").low
    assert Alarms("", 3, of, stopped).at_most == pytest.approx(upper)
    assert Power(D1, 20, 0.1, of, stopped).at_least == pytest.approx(lower)


@pytest.mark.parametrize(
    ("stopped", "pairs", "word", "code"),
    [
        (0, 0, "inconclusive", 21),
        (0, 1000, "pass", 0),
        (4, 1000, "pass", 0),
        (5, 1000, "inconclusive", 21),
        (15, 1000, "inconclusive", 21),
        (16, 1000, "missed", 20),
        (0, 298, "inconclusive", 21),
        (0, 299, "pass", 0),
    ],
)
def test_the_aim_is_held_by_the_bound(stopped: int, pairs: int, word: Reached, code: int) -> None:
    """At most 1 % surely, surely not, or too few builds to tell; and it can fail."""
    assert (found(stopped, pairs).word, found(stopped, pairs).code) == (word, code)


@pytest.mark.parametrize(
    ("caught", "word"), [(30, "pass"), (29, "inconclusive"), (24, "inconclusive"), (20, "missed")]
)
def test_power_has_an_aim_too(caught: int, word: Reached) -> None:
    """Nine in ten surely: one miss in thirty leaves it open, ten do not."""
    assert found(0, caught=caught).word == word


def test_the_worst_of_all_rates_decides() -> None:
    """Each set of least changes, each of its aims."""
    good, bad, open_ = rates(0), rates(99), rates(0, caught=29)
    assert SelfTest(0.01, [good, good]).word == "pass"
    assert SelfTest(0.01, [good, open_]).word == "inconclusive"
    assert SelfTest(0.01, [bad, open_]).word == "missed"


def test_the_lines_say_bounds_and_what_to_do() -> None:
    """Counts, bounds and the word of each; the last line with its code."""
    lines = list(found(2).lines())
    assert "change, by the rules" in lines[3]
    assert lines[4].split()[:5] == ["3", "none,", "two", "samples", "2"]
    assert "2 of 1,000, at most 0.63%" in lines[4]
    assert lines[5].split()[:4] == ["20", "d1_query_p95", "+10.00", "%"]
    assert "30 of 30, at least 90.5%" in lines[5]
    assert lines[-1] == "0 pass false alarms in at most 0.63% of builds, power at least 90.5%"
    few = list(found(0, 10).lines())[-1]
    assert few == "21 inconclusive too few builds to tell: --pairs 299 at the very least"
    fewer = SelfTest(0.01, [rates(0, 10), rates(0, 6, replications=5)])
    assert list(fewer.lines())[-1].endswith("--pairs 499 at the very least")
    between = "21 inconclusive neither kept nor broken for sure: see the lines above"
    assert list(found(0, caught=29).lines())[-1] == between
    assert list(found(99).lines())[-1].startswith("20 missed the gate does not keep")


def test_json_holds_the_same() -> None:
    """For machines."""
    told = json.loads(json.dumps(found(2).to_json()))
    (only,) = told["rates"]
    assert (told["verdict"], only["by"]) == ("pass", "the rules")
    assert only["false_alarms"][0]["stopped"] == 2
    assert only["power"][0]["kpi"] == "d1_query_p95"
