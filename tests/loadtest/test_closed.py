"""Users who wait, on a clock that only moves when somebody sleeps or the server takes its time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import gevent
import pytest

from loadtest._closed import SERIES, Users, add_estimates, supply
from loadtest._dispatch import Arrival
from loadtest._workload import Part, workload_of
from reference_impl.profiling.hdr import Histogram
from reports.record import Unit
from tests.loadtest.fake_clock import FakeClock
from tests.loadtest.setups import setup


def endless() -> Iterator[Arrival]:
    return (Arrival(number, 10**9, 0, 0, False, 0) for number in itertools.count())


def asked(users: int, think_us: int, latency_us: int, horizon_us: int) -> list[tuple[int, int]]:
    """When each request of these users was due, and its number."""
    clock = FakeClock()
    crowd = Users(clock, users, think_us, horizon_us)
    sent: list[tuple[int, int]] = []

    def send(arrival: Arrival, _job: None) -> None:
        sent.append((arrival.intended_us, arrival.number))
        clock.at_us += latency_us

    crowd.play(endless(), lambda _: None, send)
    crowd.drain()
    assert crowd.planned == crowd.offered == len(sent)
    return sent


def test_a_user_asks_again_after_answer_and_thought() -> None:
    """Every think time and latency, until the horizon, with the plan's requests in their order."""
    assert asked(users=1, think_us=100, latency_us=50, horizon_us=500) == [
        (0, 0), (150, 1), (300, 2), (450, 3)
    ]  # fmt: skip


def test_a_slow_server_is_asked_less() -> None:
    """That is what makes the load closed."""
    fast, slow = (asked(3, 100, latency_us, 10_000) for latency_us in (10, 1_000))
    assert len(slow) < len(fast) / 3


def test_requests_in_flight_can_be_abandoned() -> None:
    """A user who waits for an answer hears of the end."""
    ended = []

    def wait_for_ever(*_: object) -> None:
        try:
            gevent.sleep(3600)
        except gevent.GreenletExit:
            ended.append(True)
            raise

    crowd = Users(FakeClock(), 2, 0, 10)
    crowd.play(endless(), lambda _: None, wait_for_ever)
    gevent.sleep(0)
    crowd.abandon()
    assert ended == [True, True]


def test_the_supply_is_the_plan_and_goes_on() -> None:
    """Its first requests are the plan's own; it does not end with the window."""
    workload = workload_of(setup(overrides=["measure.warmup_s=0", "measure.window_s=0.5"]))
    planned = sum(len(chunk) for chunk in workload.plan)
    part = list(itertools.islice(supply(workload, Part("run", 1, 2)), planned))
    assert [arrival.number for arrival in part] == list(range(1, 2 * planned, 2))
    first = workload.plan.chunk(0)
    assert [arrival.key for arrival in part[: planned // 2]] == first.key[1::2].tolist()


def unit_of(*latencies_us: int) -> Unit:
    histogram = Histogram()
    histogram.record_many(list(latencies_us))
    return Unit({"latency.tracking.intended": histogram}, {"latency.tracking.intended": 3})


@pytest.mark.parametrize(("think_us", "samples"), [(90, 3 + 9), (190, 3 + 4), (2_000, 3)])
def test_what_a_waiting_user_left_out_is_added(think_us: int, samples: int) -> None:
    """An answer after 1,000 us, with one request each 100 us: nine were left out, and so on."""
    unit = unit_of(10, 10, 1_000)
    add_estimates([unit], think_us)
    assert unit.series[SERIES.format("tracking")].count == samples
    assert unit.failed[SERIES.format("tracking")] == 3
    assert unit.series["latency.tracking.intended"].count == 3


def test_without_samples_there_is_no_estimate() -> None:
    """Nothing is made up."""
    unit = Unit()
    add_estimates([unit], 0)
    assert unit.series == {}
