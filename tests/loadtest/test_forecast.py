"""What a run is said to send and cost before it begins."""

from __future__ import annotations

import pytest

from loadtest._forecast import USD_PER_MILLION, forecast
from loadtest._guard import Address
from tests.loadtest.setups import setup


@pytest.fixture(autouse=True)
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host is one that is not this machine."""
    monkeypatch.setattr(Address, "is_loopback", property(lambda self: False))


def lines(*overrides: str) -> list[str]:
    return forecast(
        setup(scenario="smoke/tiny", overrides=list(overrides), i_own_this_host=["127.0.0.1"])
    )


def test_a_climb_sends_half_as_much() -> None:
    """50 look-ups a second for 30 s of climb and 70 s of window."""
    first, _, _ = lines("measure.window_s=70")
    assert "about 4,250 requests in 100 s, at most 50 a second after a climb of 30 s" in first
    assert first.startswith("to 127.0.0.1:8787: ")


def test_the_cost_is_that_of_every_operation() -> None:
    """A million of each kind of request at list prices: Workers, KV, D1 and queue."""
    big = ("target.max_requests=9999999", "measure.window_s=9985", "target.writes=allowed")
    rates = ("workload.attribution.rate_per_s=100", "workload.tracking.rate_per_s=100")
    first, writes, cost = lines(*big, *rates, "workload.tracking.attributed_share=0")
    assert "about 2,000,000 requests" in first
    assert writes.startswith("writes: about 1,000,000 events, 0 of them")
    look_ups = 0.30 + 0.50 + 5.00 + 20 * 0.001
    events = 0.30 + 6 * 1.00 + 3 * 0.40
    assert f"at most about ${look_ups + events:.2f} at list prices" in cost
    assert all(name in cost for name in USD_PER_MILLION)


def test_little_is_not_nothing() -> None:
    """A short run costs less than a cent, and says so."""
    assert lines()[2].startswith("cost: under $0.01")
