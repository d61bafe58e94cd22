"""What is said about a scenario before it runs."""

from __future__ import annotations

import pytest

from scenarios.describe import describe, expected_samples, warnings
from scenarios.loader import bundled, load


def test_the_paragraph_tells_what_was_asked() -> None:
    """Load, start, times, place and judges are all in it, and it is one paragraph."""
    asked = ["workload.tracking.attributed_share=0.25"]
    asked.append("d1.drop_indexes=[idx_user_journeys_conversion]")
    text = describe(load("steady/baseline", asked))
    for part in (
        "baseline: ",
        "100 attribution look-ups a second (linear, Zipf 1.1)",
        "(25 % of them touch a conversion already attributed)",
        "measures 30 s",
        "fra in weur",
        "without idx_user_journeys_conversion",
        "d1_query_p95",
        "error_ratio",
    ):
        assert part in text
    assert "\n" not in text


def test_own_limits_are_told() -> None:
    """A limit that is not the catalogue's is said aloud."""
    text = describe(load("kpis:\n  limits: {d1_query_p95: {target: 70, alert: 90}}\n"))
    assert "own limits d1_query_p95 < 70 (alert 90)" in text


def test_an_absent_route_is_not_mentioned() -> None:
    """A rate of 0 leaves its sentence out."""
    text = describe(load("workload:\n  tracking: {rate_per_s: 0}\n"))
    assert "events" not in text


def test_a_cool_down_and_a_deployment_of_its_own_are_mentioned() -> None:
    """Where requests go and which secrets they need; nothing of it for a server of ours."""
    text = describe(
        load(
            """
measure: {cooldown_s: 7}
target:
  auth: {env: SHOP_TOKEN}
  attribution: {host: "https://shop.test", path: "/v1/{conversion_id}"}
"""
        )
    )
    assert "measures 30 s, and cools down for 7 s." in text
    assert (
        "A named host is asked by GET https://shop.test/v1/{conversion_id} and POST /track" in text
    )
    assert "with secrets from SHOP_TOKEN." in text
    assert "named host" not in describe(load("smoke/tiny"))


@pytest.mark.parametrize("name", bundled())
def test_bundled_scenarios_have_no_warnings(name: str) -> None:
    """What is shipped can show what it asks."""
    assert warnings(load(name)) == []


def test_a_short_cold_run_is_warned_about() -> None:
    """A cold window below the longest TTL cannot tell TTLs apart; a longer or steady one can."""
    (warning,) = warnings(load("seed: 1\n", ["measure.start=cold"]))
    assert "(30 s) is shorter than the longest TTL (3600 s)" in warning
    assert "cannot tell TTLs apart" in warning
    assert warnings(load("seed: 1\n", ["measure.start=cold", "measure.window_s=3600"])) == []


def test_too_few_samples_are_warned_about() -> None:
    """Required KPIs below 90 expected samples are named, others are not."""
    few = load(
        "workload: {attribution: {rate_per_s: 1}}\nkpis:\n  required: [attribution_latency_p95]\n"
    )
    assert warnings(few) == [
        "attribution_latency_p95: about 30 samples expected in one run, "
        "fewer than 90 are inconclusive"
    ]


@pytest.mark.parametrize(
    ("rate_per_s", "batches"), [(100, 300), (2, 6), (1, 5), (0.01, 30 * 0.01 / 1.05)]
)
def test_batches_close_when_full_or_late(rate_per_s: float, batches: float) -> None:
    """Above 2 a second batches of 10 fill up within 5 s, below they time out."""
    scenario = load("seed: 1\n", [f"workload.tracking.rate_per_s={rate_per_s}"])
    assert expected_samples(scenario)["queue_processing_p95"] == pytest.approx(batches)


def test_look_ups_alone_say_nothing_about_d1() -> None:
    """How many look-ups reach D1 is a result of the run."""
    assert "d1_query_p95" not in expected_samples(load("workload: {tracking: {rate_per_s: 0}}\n\n"))
