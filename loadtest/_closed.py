"""Closed load: users who wait for each answer, think, and ask again.

A slow server is asked less by them, so its slowness is seen less often than a visitor would see
it: coordinated omission. Runs of this kind say so, and show an estimate of the truth beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import gevent
from gevent.pool import Group

from loadtest._dispatch import Arrival, Clock, arrivals
from loadtest._workload import Part, Workload
from reference_impl.profiling.hdr import Histogram
from reports.record import ROUTES, Unit
from scenarios.plan import Plan

CAUTION = (
    "a closed load: its users wait for answers, so a slow server is asked less and its latencies "
    "look better than a visitor would find them; the rows marked as an estimate correct for that"
)

SERIES = "latency.{}.corrected"

WITHOUT_END_S = 1e9

Job = TypeVar("Job")


def supply(workload: Workload, part: Part) -> Iterator[Arrival]:
    """Arrivals for one generator's users: those of the plan, going on for as long as they ask."""
    scenario = workload.setup.scenario
    measure = scenario.measure.model_copy(update={"window_s": WITHOUT_END_S})
    endless = scenario.model_copy(update={"measure": measure})
    plan = Plan(endless, workload.setup.seed, len(workload.conversions))
    return arrivals(plan, part.number, part.of)


class Users:
    """Sends arrivals of the plan, whatever their time, each as soon as a user is free for it.

    ``planned`` and ``offered`` count what the users have asked: here both are the same.
    """

    def __init__(self, clock: Clock, users: int, think_us: int, horizon_us: int) -> None:
        self._clock = clock
        self._users = users
        self._think_us = think_us
        self._horizon_us = horizon_us
        self._group = Group()
        self.planned = 0
        self.offered = 0

    def play(
        self,
        schedule: Iterator[Arrival],
        prepare: Callable[[Arrival], Job],
        send: Callable[[Arrival, Job], None],
    ) -> None:
        """Have the users begin; their first requests are spread over a think time.

        An arrival's intended start becomes the instant at which its user had finished thinking.
        """
        for user in range(self._users):
            first_us = self._think_us * user // self._users
            self._group.spawn(self._ask, first_us, schedule, prepare, send)

    def drain(self) -> None:
        """Wait for the users, who ask until the horizon, and for their last answers."""
        self._group.join()

    def abandon(self) -> None:
        """Kill the requests in flight."""
        self._group.kill()

    def _ask(
        self,
        due_us: int,
        schedule: Iterator[Arrival],
        prepare: Callable[[Arrival], Job],
        send: Callable[[Arrival, Job], None],
    ) -> None:
        while due_us < self._horizon_us:
            self._clock.sleep_until(due_us)
            planned = next(schedule, None)
            if planned is None:  # the run has ended itself
                return
            arrival = planned._replace(intended_us=due_us)
            self.planned += 1
            self.offered += 1
            send(arrival, prepare(arrival))
            due_us = self._clock.now_us() + self._think_us
            gevent.sleep(0)  # let the others have their turn when nobody has to think


def add_estimates(units: list[Unit], think_us: int) -> None:
    """Put the corrected latencies beside the measured ones, in every block.

    A user asks once in a think time and a median latency, so that is what an answer should have
    taken at most for no request to be left out.
    """
    pooled = Histogram()
    for unit in units:
        for route in ROUTES:
            pooled.add(unit.series.get(f"latency.{route}.intended", Histogram()))
    interval_us = think_us + (pooled.percentile(0.5) or 0)
    if interval_us < 1:
        return
    for unit in units:
        for route in ROUTES:
            series = f"latency.{route}.intended"
            if measured := unit.series.get(series):
                unit.series[SERIES.format(route)] = measured.corrected(interval_us)
            if failed := unit.failed.get(series):
                unit.failed[SERIES.format(route)] = failed
