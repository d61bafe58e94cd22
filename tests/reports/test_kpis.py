"""The catalogue holds the contract's numbers."""

from __future__ import annotations

import pytest

from reports.kpis import BY_NAME, DEFAULT_LIMITS, KPI_NAMES


def test_the_seven_stand_in_the_order_of_the_contract() -> None:
    """Names and limits are those of the contract, in its order."""
    assert {name: DEFAULT_LIMITS[name] for name in KPI_NAMES} == {
        "cache_hit_ratio": (0.95, 0.85),
        "tracking_latency_p95": (100, 200),
        "attribution_latency_p95": (500, 1000),
        "d1_query_p95": (50, 100),
        "queue_processing_p95": (500, 2000),
        "worker_memory_max": (128, 128),
        "worker_cpu_p95": (50, 150),
    }
    assert len(KPI_NAMES) == 7
    assert DEFAULT_LIMITS["error_ratio"] == (0.001, 0.01)


@pytest.mark.parametrize(
    ("name", "value", "met", "alert"),
    [
        ("cache_hit_ratio", 0.95, True, False),
        ("cache_hit_ratio", 0.85, False, False),
        ("cache_hit_ratio", 0.8499, False, True),
        ("d1_query_p95", 49.999, True, False),
        ("d1_query_p95", 50, False, False),
        ("d1_query_p95", 100, False, False),
        ("d1_query_p95", 100.1, False, True),
        ("worker_memory_max", 127.9, True, False),
        ("worker_memory_max", 128, False, True),
        ("error_ratio", 0.001, True, False),
        ("error_ratio", 0.01, False, False),
    ],
)
def test_limits_are_strict_where_the_contract_says_so(
    name: str, value: float, met: bool, alert: bool
) -> None:
    """A value on a limit falls on the side the contract gives it."""
    kpi = BY_NAME[name]
    assert (kpi.is_met(value, kpi.target), kpi.is_alert(value, kpi.alert)) == (met, alert)


def test_better_follows_from_the_comparison() -> None:
    """Only the hit ratio is better when higher."""
    assert [kpi.name for kpi in BY_NAME.values() if kpi.better == "higher"] == ["cache_hit_ratio"]


def test_basis_tells_what_went_in_from_what_came_out() -> None:
    """CPU is an input of the simulation, memory is modelled even on our own server."""
    assert BY_NAME["worker_cpu_p95"].basis("simulated") == "input"
    assert BY_NAME["d1_query_p95"].basis("simulated") == "modelled"
    assert BY_NAME["worker_memory_max"].basis("emulated") == "modelled"
    assert BY_NAME["worker_cpu_p95"].basis("emulated") == "measured"
    assert BY_NAME["worker_memory_max"].basis("live") == "measured"
