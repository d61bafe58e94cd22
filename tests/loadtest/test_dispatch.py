"""The dispatcher: whose requests are whose, and that none leaves before its time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import gevent.event
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import _dispatch
from loadtest._dispatch import Arrival, Clock, Dispatcher, arrivals
from scenarios.plan import Chunk
from tests.loadtest.fake_clock import FakeClock


def chunks(lengths: list[int]) -> list[Chunk]:
    """Consecutive chunks of these lengths; every column tells the request's number."""
    result, first = [], 0
    for length in lengths:
        numbers = np.arange(first, first + length, dtype=np.int64)
        result.append(
            Chunk(first, numbers * 10, numbers.astype(np.uint8), numbers, numbers % 2 == 0, numbers)
        )
        first += length
    return result


@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 7))
def test_the_parts_of_all_workers_are_the_plan(lengths: list[int], workers: int) -> None:
    """Whatever the chunks' lengths: every request once, in order, with its own columns."""
    parts = [list(arrivals(chunks(lengths), index, workers)) for index in range(workers)]
    whole = sorted(arrival for part in parts for arrival in part)
    assert whole == [Arrival(n, 10 * n, n % 256, n, n % 2 == 0, n) for n in range(sum(lengths))]
    for index, part in enumerate(parts):
        assert [arrival.number % workers for arrival in part] == [index] * len(part)


def schedule(*times_us: int) -> Iterator[Arrival]:
    return (Arrival(number, at_us, 0, 0, False, 0) for number, at_us in enumerate(times_us))


def test_requests_leave_at_their_time() -> None:
    """Each is prepared before its due time and sent at it; all are waited for."""
    clock = FakeClock()
    dispatcher = Dispatcher(clock)
    prepared: list[tuple[int, int]] = []
    sent: list[str] = []

    def prepare(arrival: Arrival) -> str:
        prepared.append((clock.now_us(), arrival.number))
        return f"job {arrival.number}"

    dispatcher.play(schedule(5, 9, 9), prepare, lambda _, job: sent.append(job))
    dispatcher.drain()
    assert prepared == [(0, 0), (5, 1), (9, 2)]
    assert sent == ["job 0", "job 1", "job 2"]
    assert (dispatcher.planned, dispatcher.offered) == (3, 3)


def test_a_hopeless_delay_ends_the_sending_not_the_counting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind by more than the limit, the rest is planned but not offered."""
    monkeypatch.setattr(_dispatch, "GIVE_UP_US", 100)
    clock = FakeClock()
    dispatcher = Dispatcher(clock)

    def prepare(arrival: Arrival) -> None:
        clock.at_us += 60  # preparing takes longer than the schedule allows

    dispatcher.play(schedule(0, 1, 2, 3, 4), prepare, lambda *_: None)
    dispatcher.drain()
    assert dispatcher.planned == 5
    assert 1 <= dispatcher.offered < 5


def test_requests_in_flight_can_be_abandoned() -> None:
    """Whoever ends a run early need not wait for an answer; each request still hears of it."""
    ended = []

    def wait_for_ever(*_: object) -> None:
        try:
            gevent.event.Event().wait()
        except gevent.GreenletExit:
            ended.append(True)

    dispatcher = Dispatcher(FakeClock())
    dispatcher.play(schedule(0), lambda _: None, wait_for_ever)
    gevent.sleep(0)
    dispatcher.abandon()
    assert ended == [True]


def test_zero_may_lie_ahead() -> None:
    """An emulating server says when its clock will start; until then times are negative."""
    clock = Clock()
    clock.start(time.perf_counter_ns() + 10**12)
    assert clock.now_us() < -900_000_000
