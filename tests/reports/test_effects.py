"""Amounts and limits as they are typed, and the scale that changes are measured on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.effects import (
    DEFAULTS,
    MinEffect,
    Scale,
    interval_text,
    parse_limits,
    parse_min_effects,
    with_limits,
)
from reports.kpis import BY_NAME, DEFAULT_LIMITS

D1, HITS = BY_NAME["d1_query_p95"], BY_NAME["cache_hit_ratio"]


def test_every_kpi_has_a_least_change_that_matters() -> None:
    """Nobody has to name one."""
    assert DEFAULTS.keys() == BY_NAME.keys()


def test_amounts_are_shares_or_in_the_unit_of_the_kpi() -> None:
    """With a per cent sign a share of the old value; without, milliseconds or a ratio."""
    found = parse_min_effects(["d1_query_p95=2", "cache_hit_ratio=0.001", "worker_cpu_p95=7.5%"])
    assert found["d1_query_p95"] == MinEffect(2, relative=False)
    assert found["d1_query_p95"].text(D1) == "2 ms"
    assert found["cache_hit_ratio"].text(HITS) == "0.001"
    assert found["worker_cpu_p95"] == MinEffect(0.075, relative=True)
    assert found["tracking_latency_p95"] == DEFAULTS["tracking_latency_p95"]


def test_one_amount_for_all_leaves_the_errors_alone() -> None:
    """A share of no errors would be nothing; and a KPI named later has its own."""
    found = parse_min_effects(["0.5%", "d1_query_p95=1%"])
    assert found["worker_memory_max"].amount == pytest.approx(0.005)
    assert found["d1_query_p95"].amount == 0.01
    assert found["error_ratio"] == DEFAULTS["error_ratio"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=5%", "'speed' is no KPI"),
        ("d1_query_p95=", "expected an amount"),
        ("d1_query_p95=-1%", "expected an amount"),
        ("d1_query_p95=nan", "expected an amount"),
        ("d1_query_p95=inf", "expected an amount"),
        ("d1_query_p95=five%", "expected an amount"),
        ("0.5", "needs a % sign"),
    ],
)
def test_wrong_amounts_are_named(text: str, message: str) -> None:
    """The message repeats what was typed."""
    with pytest.raises(ValueError, match=message) as caught:
        parse_min_effects([text])
    assert str(caught.value).startswith(text)


def test_limits_replace_those_of_the_run() -> None:
    """The target alone, or target and alert; the rest stays."""
    own = parse_limits(["d1_query_p95=40", "cache_hit_ratio=0.9:0.8"])
    merged = with_limits(DEFAULT_LIMITS, own)
    assert merged["d1_query_p95"] == (40.0, 100.0)
    assert merged["cache_hit_ratio"] == (0.9, 0.8)
    assert merged["worker_cpu_p95"] == DEFAULT_LIMITS["worker_cpu_p95"]


@pytest.mark.parametrize("text", ["speed=5", "d1_query_p95", "d1_query_p95=a", "d1_query_p95=1:-2"])
def test_wrong_limits_are_named(text: str) -> None:
    """The message repeats what was typed."""
    with pytest.raises(ValueError, match=r"is no KPI|expected d1_query_p95=TARGET") as caught:
        parse_limits([text])
    assert str(caught.value).startswith(text)


def test_a_limit_where_there_was_none_is_its_own_alert() -> None:
    """The age of stale answers has limits only where somebody sets them."""
    assert with_limits({}, parse_limits(["staleness_p99_s=30"]))["staleness_p99_s"] == (30, 30)


@pytest.mark.parametrize("text", ["d1_query_p95=150", "cache_hit_ratio=0.8"])
def test_an_alert_before_its_target_is_refused(text: str) -> None:
    """A looser target needs its alert named as well."""
    with pytest.raises(ValueError, match="lies before the target; give both"):
        with_limits(DEFAULT_LIMITS, parse_limits([text]))


@given(st.floats(0.01, 1e4), st.floats(0.001, 0.9))
def test_a_change_by_the_least_share_lies_on_its_bound(old: float, share: float) -> None:
    """Up and down; and the scale says it back as it was given."""
    scale = Scale(D1)
    low, high = scale.bounds(MinEffect(share, relative=True), old)
    assert scale.of(old * (1 + share)) - scale.of(old) == pytest.approx(high)
    assert scale.of(old * (1 - share)) - scale.of(old) == pytest.approx(low)
    assert scale.change(high) == pytest.approx(share)
    assert scale.change(low) == pytest.approx(-share)


def test_absolute_amounts_of_a_latency_are_shares_of_the_old_value() -> None:
    """2 ms of 40 are 5 %; as much as there is, or more, has no bound below."""
    scale = Scale(D1)
    by_share = scale.bounds(MinEffect(0.05, relative=True), 40)
    assert scale.bounds(MinEffect(2, relative=False), 40) == pytest.approx(by_share)
    below, _ = scale.bounds(MinEffect(50, relative=False), 40)
    assert math.isinf(below)


def test_ratios_differ_by_points() -> None:
    """Also where the amount is a share: 1 % of 0.9 is 0.009."""
    scale = Scale(HITS)
    assert scale.bounds(MinEffect(0.01, relative=True), 0.9) == pytest.approx((-0.009, 0.009))
    assert scale.change(-0.02) == -0.02
    assert scale.resolution(500) == 0.002


def test_changes_are_said_with_their_sign() -> None:
    """Per cent for a factor, points for a ratio, nothing for ends that are not known."""
    assert Scale(D1).text(0.052) == "+5.20 %"
    assert Scale(HITS).text(-0.0031) == "-0.0031"
    assert interval_text(Scale(D1), (-0.01, 0.03)) == "[-1.00 %, +3.00 %]"
    assert interval_text(Scale(D1), (-1.0, math.inf)) == "[-100.00 %, +inf]"
    assert interval_text(Scale(HITS), (-math.inf, math.inf)) == ""
