"""Open arrivals: every request leaves when the plan says so, whatever became of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import gevent
from gevent.pool import Group

from scenarios.plan import Chunk

GIVE_UP_US = 10_000_000
"""A dispatcher this far behind its schedule stops: the load cannot be offered from here."""

_SPAWNS_A_TURN = 50

Job = TypeVar("Job")


class Arrival(NamedTuple):
    """One request of the plan; fields as in :class:`scenarios.plan.Chunk`."""

    number: int
    intended_us: int
    route: int
    key: int
    attributed: bool
    node: int


def arrivals(
    chunks: Iterable[Chunk], worker_index: int = 0, worker_count: int = 1
) -> Iterator[Arrival]:
    """The part of the plan that is one worker's: every ``worker_count``-th request.

    The parts of all workers together are the plan, each request once.
    """
    for chunk in chunks:
        # The first row that is ours: the smallest i with (first + i) % count == index.
        ours = slice((worker_index - chunk.first) % worker_count, None, worker_count)
        numbers = range(chunk.first, chunk.first + len(chunk))[ours]
        columns = (chunk.intended_us, chunk.route, chunk.key, chunk.attributed, chunk.node)
        rows = (column[ours].tolist() for column in columns)
        yield from map(Arrival._make, zip(numbers, *rows, strict=True))


class Clock:
    """Microseconds since the plan's zero, on the monotonic clock.

    ``zero_ns`` is the plan's zero on ``time.perf_counter_ns``, ``wall_zero_us`` the same instant
    in microseconds since 1970.
    """

    def __init__(self) -> None:
        self.start()

    def start(self, zero_ns: int | None = None, wall_zero_us: int | None = None) -> None:
        """Set zero to now, or to a reading of ``time.perf_counter_ns`` that may lie ahead.

        ``wall_zero_us`` replaces this machine's opinion of the time of day.
        """
        self.zero_ns = time.perf_counter_ns() if zero_ns is None else zero_ns
        own = time.time_ns() // 1000 - self.now_us()
        self.wall_zero_us = own if wall_zero_us is None else wall_zero_us

    def now_us(self) -> int:
        return (time.perf_counter_ns() - self.zero_ns) // 1000

    def sleep_until(self, at_us: int) -> None:
        """Return at ``at_us`` or later; a timer may wake up early, so look again."""
        while (left_us := at_us - self.now_us()) > 0:
            gevent.sleep(left_us / 1e6)


class Dispatcher:
    """Starts a greenlet for each arrival at its due time, on an absolute schedule.

    ``planned`` counts the arrivals of the plan, ``offered`` those that were started; they differ
    only after giving up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_flight = Group()
        self.planned = 0
        self.offered = 0

    def play(
        self,
        schedule: Iterable[Arrival],
        prepare: Callable[[Arrival], Job],
        send: Callable[[Arrival, Job], None],
    ) -> None:
        """Prepare each arrival's job ahead of time, then ``send`` it in a greenlet when due."""
        gave_up = False
        for arrival in schedule:
            self.planned += 1
            gave_up = gave_up or self._clock.now_us() - arrival.intended_us > GIVE_UP_US
            if gave_up:
                continue
            job = prepare(arrival)
            self._clock.sleep_until(arrival.intended_us)
            self._in_flight.spawn(send, arrival, job)
            self.offered += 1
            if self.offered % _SPAWNS_A_TURN == 0:
                gevent.sleep(0)  # a dispatcher that is behind never sleeps; let requests start

    def drain(self) -> None:
        """Wait for the requests in flight: each ends by itself, at its time-out at the latest."""
        self._in_flight.join()

    def abandon(self) -> None:
        """Kill the requests in flight."""
        self._in_flight.kill()
