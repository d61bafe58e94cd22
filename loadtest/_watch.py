"""When a run ends itself: refused by the platform, asking for what is not there, or doing harm."""

from __future__ import annotations

from collections import deque

from loadtest._answers import BLOCKED
from loadtest._setup import Setup
from loadtest._tally import Halt
from reports.kpis import DEFAULT_LIMITS, P

ERRORS_OVER_S = 10
ERROR_SHARE = 0.05
SLOW_OVER_S = 30
SLOW_FACTOR = 2
"""A P95 of so many times the alert limit ends the run."""

MIN_REQUESTS = 20
"""Fewer in the time looked at end no run."""

UNKNOWN_SHARE = 0.01
MIN_UNKNOWN = 10
"""So many unknown IDs end a run at once; fewer are left to its end."""

US_PER_S = 1_000_000

LATENCY_KPIS = {"tracking": "tracking_latency_p95", "attribution": "attribution_latency_p95"}


class Watch:
    """Looks at every outcome; ``halt`` says why no more should be sent.

    Error share and latency are watched on hosts that are not this machine only: what is tried on
    one's own machine may break.
    """

    def __init__(self, setup: Setup) -> None:
        self.halt: Halt | None = None
        self.lookups = self.unknown = 0
        self._live = setup.kind == "live"
        self._foreign = {name: target.is_foreign for name, target in setup.targets.items()}
        self._errors = _Recent(ERRORS_OVER_S)
        self._slow = {route: _Recent(SLOW_OVER_S) for route in LATENCY_KPIS}
        self._limits_us = {
            route: round(SLOW_FACTOR * 1000 * _alert_ms(setup, kpi))
            for route, kpi in LATENCY_KPIS.items()
        }

    def see(self, route: str, end_us: int, latency_us: int, failure: str | None) -> None:
        """Take note of one request that ended at ``end_us`` on the run's clock."""
        if self.halt is not None or not self._live:
            return
        if failure is not None and failure.startswith(BLOCKED):
            self.halt = Halt("not valid", blocked(failure))
            return
        unknown = route == "attribution" and failure == "status 404"
        if route == "attribution":
            self.lookups += 1
            self.unknown += unknown
            if self.unknown >= MIN_UNKNOWN and unknown:
                self.halt = self.ids()
        if not unknown and self._foreign[route]:
            self._look_for_harm(route, end_us, latency_us, failure is not None)

    def ids(self) -> Halt | None:
        """Whether too many of the IDs asked for were not there."""
        return unknown_ids(self.unknown, self.lookups)

    def _look_for_harm(self, route: str, end_us: int, latency_us: int, failed: bool) -> None:
        slow = failed or latency_us > self._limits_us[route]
        self._errors.add(end_us, failed)
        self._slow[route].add(end_us, slow)
        if failed and self._errors.share_is(at_least=ERROR_SHARE):
            text = f"{ERROR_SHARE:.0%} or more of the requests failed over {ERRORS_OVER_S} s"
        elif slow and self._slow[route].share_is(over=1 - P):
            limit_ms = self._limits_us[route] // 1000
            text = f"the P95 of {route} was over {limit_ms:,} ms (twice its alert) for 30 s"
        else:
            return
        self.halt = Halt("alert", f"the run stopped itself to spare the host: {text}")


class _Recent:
    """How many of the requests of the last so many seconds were bad."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._since: int | None = None
        self._by_second: deque[list[int]] = deque()  # second, requests, bad ones
        self._all = self._bad = 0

    def add(self, at_us: int, bad: bool) -> None:
        second = at_us // US_PER_S
        if self._since is None:
            self._since = second
        if not self._by_second or self._by_second[-1][0] < second:
            self._by_second.append([second, 0, 0])
        self._by_second[-1][1] += 1
        self._by_second[-1][2] += bad
        self._all += 1
        self._bad += bad
        while self._by_second[0][0] <= self._by_second[-1][0] - self._seconds:
            _, requests, bad_ones = self._by_second.popleft()
            self._all -= requests
            self._bad -= bad_ones

    def share_is(self, *, at_least: float = 0.0, over: float = -1.0) -> bool:
        """Whether the share of bad ones is so large, once all of the time has been seen."""
        if self._since is None or self._all < MIN_REQUESTS:
            return False
        seen_all = self._by_second[-1][0] - self._since >= self._seconds
        share = self._bad / self._all
        return seen_all and share >= at_least and share > over


def unknown_ids(unknown: int, lookups: int) -> Halt | None:
    """Wrong input if more than 1 % of the look-ups asked for what the deployment does not know."""
    if unknown <= UNKNOWN_SHARE * lookups:
        return None
    return Halt(
        "wrong input",
        f"{unknown:,} of {lookups:,} look-ups asked for IDs that are not there (404): name a file "
        "of known ones in population.csv, or correct target.attribution.path",
    )


def blocked(failure: str) -> str:
    """What to do about an answer of the platform's own protection."""
    return (
        f"the platform's own protection answered, not the deployment ({failure}): let requests "
        "with the header X-EdgeKPI-Run pass its rules, correct the authorisation, or lower the "
        "rates"
    )


def _alert_ms(setup: Setup, kpi: str) -> float:
    own = setup.scenario.kpis.limits.get(kpi)
    return own.alert if own else DEFAULT_LIMITS[kpi][1]
