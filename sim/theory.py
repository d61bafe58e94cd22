"""Closed forms of what the world's parts do when nothing but chance is at work.

Rates are a second (or per any unit of time, if all are), times in the same unit. Waits do not
include the service. What is compared with them, and where, stands in ``docs/theory.md``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def wait_mg1(rate: float, mean: float, second_moment: float) -> float:
    """Mean wait of one server, Poisson arrivals, any law of service: rate E[S^2] / 2(1 - load).

    Pollaczek 1930, Khinchine 1932; Kleinrock, Queueing Systems I (1975), eq. 5.70.

    Raises:
        ValueError: the load is 1 or more: there is no mean wait.
    """
    load = rate * mean
    _check_stable(load)
    return rate * second_moment / (2 * (1 - load))


def wait_mm1(rate: float, mean: float) -> float:
    """:func:`wait_mg1` for exponential service, whose second moment is 2 mean^2."""
    return wait_mg1(rate, mean, 2 * mean**2)


def wait_md1(rate: float, service: float) -> float:
    """:func:`wait_mg1` for a service that always takes the same time."""
    return wait_mg1(rate, service, service**2)


def wait_mmc(rate: float, mean: float, servers: int) -> float:
    """Mean wait of ``servers`` alike before one queue, exponential service.

    The probability of having to wait is Erlang's second formula (1917), here from his first by
    its recursion; Kleinrock I, eq. 3.40. Raises as :func:`wait_mg1`.
    """
    offered = rate * mean
    load = offered / servers
    _check_stable(load)
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    waits = blocked / (1 - load * (1 - blocked))
    return waits * mean / (servers * (1 - load))


class Shares(NamedTuple):
    """Parts of the look-ups, 0..1, that sum to 1."""

    hit: float
    joined: float
    miss: float


def ttl_shares(rate: float, ttl: float, fetch: float = 0.0) -> Shares:
    """What look-ups of one key meet in a cache that keeps it for ``ttl`` after each fetch.

    Look-ups are Poisson; one that finds nothing fetches for ``fetch``, and those that come
    meanwhile join it. One cycle is a miss, ``rate * fetch`` joined and ``rate * ttl`` hits in the
    mean. Without a time to fetch the hit ratio is rate ttl / (1 + rate ttl): Jung, Berger and
    Balakrishnan, "Modeling TTL-based Internet caches", INFOCOM 2003.
    """
    cycle = 1 + rate * (ttl + fetch)
    return Shares(rate * ttl / cycle, rate * fetch / cycle, 1 / cycle)


def ttl_shares_of_all(rates: NDArray[np.float64], ttl: float, fetch: float = 0.0) -> Shares:
    """:func:`ttl_shares` over a population: each key's, weighed by its part of the look-ups."""
    cycle = 1 + rates * (ttl + fetch)
    total = rates.sum()
    miss = float((rates / cycle).sum() / total)
    joined = float((rates * rates * fetch / cycle).sum() / total)
    return Shares(1 - joined - miss, joined, miss)


def _check_stable(load: float) -> None:
    if not (0 <= load < 1 and math.isfinite(load)):
        raise ValueError(f"the load is {load:g}: a queue of load 1 or more grows without end")
