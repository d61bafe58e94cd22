"""What of the plan is sent: a climb at the start, and nothing after a halt."""

from __future__ import annotations

import pytest

from loadtest._dispatch import Arrival
from loadtest._schedule import schedule
from loadtest._watch import Watch
from tests.loadtest.setups import setup

S = 1_000_000


def plan(rate: int, seconds: int, index: int = 0, count: int = 1) -> list[Arrival]:
    """Evenly spread arrivals, those of one worker."""
    numbers = range(index, rate * seconds, count)
    return [Arrival(number, number * S // rate, 0, 0, False, 0) for number in numbers]


def test_without_a_climb_all_is_sent() -> None:
    """As planned."""
    assert list(schedule(plan(10, 5), 0, Watch(setup()))) == plan(10, 5)


@pytest.mark.parametrize(
    ("index", "count"), [(index, count) for count in range(1, 6) for index in range(count)]
)
def test_the_rate_climbs_evenly_in_every_worker_s_part(index: int, count: int) -> None:
    """Each tenth of the climb sends its share of its arrivals, within two; then all are sent."""
    planned = plan(500, 40, index, count)
    sent = {arrival.number for arrival in schedule(planned, 30 * S, Watch(setup()))}
    for tenth in range(10):
        due = [a for a in planned if tenth * 3 * S <= a.intended_us < (tenth + 1) * 3 * S]
        left = sum(arrival.number in sent for arrival in due)
        assert abs(left - len(due) * (tenth + 0.5) / 10) <= 2 + 0.01 * len(due)
    after = [arrival for arrival in planned if arrival.intended_us >= 30 * S]
    assert all(arrival.number in sent for arrival in after)


def test_nothing_is_sent_after_a_halt() -> None:
    """Whatever the plan still holds."""
    watch = Watch(setup())
    sent = []
    for arrival in schedule(plan(10, 5), 0, watch):
        sent.append(arrival.number)
        if arrival.number == 7:
            watch.see("tracking", 0, 0, "blocked: status 403")
    assert sent == list(range(8))
