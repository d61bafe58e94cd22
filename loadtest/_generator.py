"""One generator: a part of the plan, sent from this process, and all that it saw of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import gevent

from loadtest._answers import city_of, failure_of
from loadtest._client import Answer, Clients, Failed, GeneratorFailed
from loadtest._closed import Users, supply
from loadtest._dispatch import Arrival, Clock, Dispatcher, arrivals
from loadtest._foreign import climb_us
from loadtest._messages import Message, Messages
from loadtest._rows import Row, Rows
from loadtest._schedule import schedule
from loadtest._tally import Tally
from loadtest._watch import Watch
from loadtest._workload import Part, Workload
from reference_impl.http.evidence_headers import decode
from reference_impl.messages import Evidence, Layer, Lookup
from reference_impl.profiling.hdr import Histogram
from reports import hlog
from reports.record import ROUTES, Unit
from reports.recorder import Recorder
from scenarios.requests import layers_of

BLOCKS = 10
"""The window is cut into so many blocks: they show how much the numbers vary within a run."""

LOG_EVERY_S = 5.0
"""The length of an interval of the histogram log."""

LOOK_EVERY_US = 500_000
"""How often it is looked whether the run has ended itself."""

LOG_PATTERN = "latency-*.hlog"

OnRequest = Callable[[Message, int, Answer | None, str | None], None]
"""Told of each request that has ended: what, latency from the intended start, answer, failure."""


class Generator:
    """Sends one part of the plan, from ``clock``'s zero on.

    Raises:
        OSError: when its interval log cannot be written.
    """

    def __init__(self, workload: Workload, part: Part, clock: Clock, on_request: OnRequest) -> None:
        setup, self._plan = workload.setup, workload.plan
        self.clock = clock
        self.part = part
        self.rows = Rows()
        self.recorder = Recorder(
            self._plan.window, blocks=BLOCKS, cache_types=setup.scenario.kpis.cache_types
        )
        self.dispatcher: Dispatcher | Users = Dispatcher(clock)
        planned = arrivals(self._plan, part.number, part.of)
        if closed := setup.closed:
            users = closed.users // part.of + (part.number < closed.users % part.of)
            self.dispatcher = Users(clock, users, closed.think_us, self._plan.horizon_us)
            planned = supply(workload, part)
        self.watch = Watch(setup)
        self._schedule = schedule(planned, climb_us(setup), self.watch)
        self._counted = Tally()
        self._on_request = on_request
        self._protected = setup.kind == "live"
        self._lookup_type = setup.scenario.kpis.cache_types[0]
        self._messages = Messages(setup, workload.conversions, part.run_id)
        self._clients = Clients(setup, part.of)
        self._log = _IntervalLog(setup.out / LOG_PATTERN.replace("*", str(part.number)), clock)

    def play(self) -> None:
        """Send everything, each request at its time, and wait for the last answer."""
        gc.collect()
        gc.freeze()  # a collection of what lives anyway would delay whoever is due then
        logging = gevent.spawn(self._log.write_regularly)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        try:
            self.dispatcher.play(self._schedule, self._prepare, self._send)
            self._wait_for_the_end()
        finally:
            self._counted.cpu_us = round((time.process_time() - cpu_s) * 1e6)
            self._counted.wall_us = round((time.monotonic() - wall_s) * 1e6)
            logging.kill()
        self.dispatcher.drain()

    def _wait_for_the_end(self) -> None:
        """Return at the horizon, or soon after the run has ended itself."""
        while self.watch.halt is None and (now_us := self.clock.now_us()) < self._plan.horizon_us:
            self.clock.sleep_until(min(now_us + LOOK_EVERY_US, self._plan.horizon_us))

    def finish(self) -> None:
        """Abandon what is still in flight, close connections and log, and read the log back."""
        self.dispatcher.abandon()
        self._clients.close()
        self._counted.logged = self._log.finish()

    def tally(self) -> Tally:
        """The numbers so far."""
        self._counted.planned = self.dispatcher.planned
        self._counted.offered = self.dispatcher.offered
        self._counted.lookups = self.watch.lookups
        self._counted.unknown = self.watch.unknown
        self._counted.halt = self.watch.halt
        return self._counted

    def units(self) -> list[Unit]:
        """The blocks so far."""
        return self.recorder.units()

    def _prepare(self, arrival: Arrival) -> Message:
        return self._messages.write(arrival, self.clock.wall_zero_us + arrival.intended_us)

    def _send(self, arrival: Arrival, message: Message) -> None:
        actual_us = self.clock.now_us()
        answer, failure = self._exchange(message)
        end_us = self.clock.now_us()
        self._count(arrival, message, actual_us, end_us, answer, failure)
        self._on_request(message, end_us - arrival.intended_us, answer, failure)

    def _exchange(self, message: Message) -> tuple[Answer | None, str | None]:
        """The answer, if one came, and why the request failed, if it did."""
        try:
            answer = self._clients.exchange(message.route, message.payload)
        except Failed as error:
            self._counted.out_of_sockets += isinstance(error, GeneratorFailed)
            return None, error.reason
        except gevent.GreenletExit:
            return None, "unfinished"
        return answer, failure_of(message, answer, self._protected)

    def _count(
        self,
        arrival: Arrival,
        message: Message,
        actual_us: int,
        end_us: int,
        answer: Answer | None,
        failure: str | None,
    ) -> None:
        counted, route, intended_us = self._counted, message.route, arrival.intended_us
        evidence = Evidence() if answer is None else decode(answer.headers)
        if failure is None and route == "attribution" and not evidence.lookups:
            evidence.lookups.append(Lookup(self._lookup_type, Layer.UNKNOWN))
        self.recorder.request(route, intended_us, actual_us, end_us, failure, evidence)
        if answer is not None and (city := city_of(answer)):
            self.recorder.note(intended_us, f"city.{city}")
        self.watch.see(route, end_us, end_us - intended_us, failure)
        if self._plan.window.start_us <= intended_us < self._plan.window.end_us:
            counted.lag.record(actual_us - intended_us)
            if failure is None:
                counted.succeeded += 1
                self._log.add(route, end_us - intended_us, end_us - actual_us)
        counted.answered += answer is not None
        counted.failed += failure is not None
        counted.ended += 1
        status = 0 if answer is None else answer.status
        layers = layers_of(evidence)
        self.rows.add(
            Row(
                arrival.number, intended_us, actual_us, end_us, status, route, failure or "", layers
            )
        )


class _IntervalLog:
    """The latencies of the window, by the interval in which each request ended, in a file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._log = hlog.HistogramLog(path, clock.wall_zero_us)
        self._since_us = clock.now_us()
        self._values = self._empty()

    def add(self, route: str, from_intended_us: int, from_actual_us: int) -> None:
        """Note the two latencies of one request."""
        self._values[f"{route}.intended"].append(from_intended_us)
        self._values[f"{route}.actual"].append(from_actual_us)

    def write_regularly(self) -> None:
        """Write an interval now and then, until killed."""
        while True:
            gevent.sleep(LOG_EVERY_S)
            self._write()

    def finish(self) -> int:
        """Write the rest, close, and count what the file holds from the intended start.

        Raises:
            ValueError, OSError: when the file cannot be read back.
        """
        self._write()
        self._log.close()
        read = hlog.read(self._log.path)
        return sum(read.get(f"{route}.intended", Histogram()).count for route in ROUTES)

    def _write(self) -> None:
        values, self._values = self._values, self._empty()
        since_us, self._since_us = self._since_us, self._clock.now_us()
        self._log.interval(max(since_us, 0), max(self._since_us, 0), values)

    @staticmethod
    def _empty() -> dict[str, list[int]]:
        return {f"{route}.{start}": [] for route in ROUTES for start in ("intended", "actual")}
