"""The closed forms against what they are derived from, and against values known by heart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import theory

loads = st.floats(0.01, 0.95)
means = st.floats(0.001, 100)


@given(loads, means)
def test_exponential_service(load: float, mean: float) -> None:
    """M/M/1: load / (1 - load) services; a constant service waits half as long."""
    rate = load / mean
    assert theory.wait_mm1(rate, mean) == pytest.approx(load / (1 - load) * mean)
    assert theory.wait_md1(rate, mean) == pytest.approx(theory.wait_mm1(rate, mean) / 2)


def test_a_law_of_two_services() -> None:
    """Pollaczek and Khinchine by hand: 9 of 10 take 1, one takes 11; mean 2, second moment 13."""
    assert theory.wait_mg1(0.25, 2.0, 13.0) == pytest.approx(0.25 * 13 / 2 / 0.5)


def birth_and_death(offered: float, servers: int) -> float:
    """The mean number waiting in M/M/c, summed over its states one by one."""
    weights, waiting = [1.0], [0]
    for n in range(1, 5_000):
        weights.append(weights[-1] * offered / min(n, servers))
        waiting.append(max(n - servers, 0))
    return float(np.dot(weights, waiting) / np.sum(weights))


@pytest.mark.parametrize("servers", [1, 2, 4, 30])
@pytest.mark.parametrize("load", [0.05, 0.3, 0.7, 0.95])
def test_several_servers(load: float, servers: int) -> None:
    """Little's law: the mean number of those who wait, by the states, is rate x wait."""
    mean, rate = 2.0, load * servers / 2.0
    expected = birth_and_death(load * servers, servers) / rate
    assert theory.wait_mmc(rate, mean, servers) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("load", [1.0, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "wait",
    [
        lambda load: theory.wait_mg1(load, 1.0, 2.0),
        lambda load: theory.wait_mmc(2 * load, 1.0, 2),
    ],
)
def test_no_mean_at_full_load(wait: Callable[[float], float], load: float) -> None:
    """A queue that grows without end has no number, but a reason."""
    with pytest.raises(ValueError, match="load"):
        wait(load)


@given(st.floats(0, 1e3), st.floats(0, 1e4), st.floats(0, 1e4))
def test_every_look_up_has_one_share(rate: float, ttl: float, fetch: float) -> None:
    """Hit, joined and miss sum to 1; joined and hits are in the proportion of their times."""
    shares = theory.ttl_shares(rate, ttl, fetch)
    assert sum(shares) == pytest.approx(1)
    assert shares.hit * fetch == pytest.approx(shares.joined * ttl)
    assert theory.ttl_shares(rate, ttl).hit == pytest.approx(rate * ttl / (1 + rate * ttl))


def test_a_population_is_the_sum_of_its_keys() -> None:
    """Each key by its part of the look-ups."""
    rates = np.array([0.1, 0.02, 3.0])
    whole = theory.ttl_shares_of_all(rates, 60.0, 5.0)
    for share, name in zip(whole, whole._fields, strict=True):
        each = [getattr(theory.ttl_shares(rate, 60.0, 5.0), name) for rate in rates]
        assert share == pytest.approx(np.dot(each, rates) / rates.sum())
