"""One run: the plan played against the target, and everything that was seen of it."""

from __future__ import annotations

import gc
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from loadtest._client import Answer, Clients, Failed, GeneratorFailed
from loadtest._dispatch import Arrival, Clock, Dispatcher, arrivals
from loadtest._finish import Result, finish
from loadtest._messages import Message, Messages
from loadtest._options import Setup
from loadtest._server import EmulationFailed, Server, merge_window
from reference_impl.evidence_headers import decode
from reference_impl.hdr import Histogram
from reference_impl.messages import Evidence
from reports.recorder import Recorder
from reports.samples import FAILED, Samples
from scenarios.journeys import load_population
from scenarios.plan import Plan
from scenarios.requests import layers_of

BLOCKS = 10
"""The window is cut into so many blocks: they show how much the numbers vary within a run."""

OnRequest = Callable[[Message, int, Answer | None, str | None], None]
"""Told of each request that has ended: what, latency from the intended start, answer, failure."""

logger = logging.getLogger(__name__)


class Stopped(Exception):
    """Somebody ended the run before its plan; the message says who."""


class Run:
    """A run in a greenlet of its own.

    ``result`` stays ``None`` until the record is written; whoever finds it so has none.
    """

    def __init__(
        self, setup: Setup, on_request: OnRequest, worker_index: int = 0, worker_count: int = 1
    ) -> None:
        conversions = setup.ids or load_population(setup.scenario.data).conversions
        self.setup = setup
        self.id = uuid.uuid4().hex[:12]
        self.plan = Plan(setup.scenario, setup.seed, len(conversions))
        self.recorder = Recorder(
            self.plan.window, blocks=BLOCKS, cache_types=setup.scenario.kpis.cache_types
        )
        self.samples = Samples()
        self.lag = Histogram()
        self.answered = self.recorded = self.failed = self.out_of_sockets = 0
        self.invalid: list[str] = []
        self.notes = list(setup.notes)
        self.cpu_share = 0.0
        self.server_facts: dict[str, int] = {}
        self.result: Result | None = None
        self.clock = Clock()
        self.dispatcher = Dispatcher(self.clock)
        self._worker = (worker_index, worker_count)
        self._on_request = on_request
        self._messages = Messages(setup, conversions, self.id)
        self._clients = Clients(setup)
        self._server = Server(setup, self.id) if setup.token else None
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self, at_end: Callable[[], None]) -> None:
        """Begin; ``at_end`` is called once everything is over, whatever happened."""
        self._greenlet = gevent.spawn(self._run, at_end)

    def stop(self, reason: str) -> None:
        """End the run now, if it is still going, and wait until its record is saved."""
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(Stopped(reason))

    def _run(self, at_end: Callable[[], None]) -> None:
        try:
            self._play_or_say_why_not()
            self.result = finish(self)
        except Exception:
            logger.exception("the run's record could not be completed")
        finally:
            self._clients.close()
            at_end()

    def _play_or_say_why_not(self) -> None:
        try:
            self._play()
        except Stopped as reason:
            self.invalid.append(str(reason))
            self.dispatcher.abandon()
        except EmulationFailed as error:
            self.invalid.append(f"the server did not start its emulated world: {error}")
        except Exception as error:
            logger.exception("the load test itself failed")
            self.invalid.append(f"the load test itself failed: {error!r}")
            self.dispatcher.abandon()

    def _play(self) -> None:
        gc.collect()
        gc.freeze()  # a collection of what lives anyway would delay whoever is due then
        self._start_clock()
        statistics = gevent.spawn(self._statistics_at, self.plan.window.start_us)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        self.dispatcher.play(arrivals(self.plan, *self._worker), self._prepare, self._send)
        self.clock.sleep_until(self.plan.horizon_us)
        self.cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
        self.dispatcher.drain()
        self._merge(statistics.get(), self._statistics_at(0))

    def _start_clock(self) -> None:
        zero_ns = None
        if self.setup.kind == "emulated":
            if self._server is None:
                raise EmulationFailed("EDGEKPI_TOKEN is not set")
            zero_ns = self._server.start_emulation(self.setup.seed)
        self.clock.start(zero_ns)

    def _prepare(self, arrival: Arrival) -> Message:
        return self._messages.write(arrival, self.clock.wall_zero_us + arrival.intended_us)

    def _send(self, arrival: Arrival, message: Message) -> None:
        actual_us = self.clock.now_us()
        answer, failure = self._exchange(message)
        end_us = self.clock.now_us()
        if self.plan.window.start_us <= arrival.intended_us:
            self.lag.record(actual_us - arrival.intended_us)
        evidence = Evidence() if answer is None else decode(answer.headers)
        self.recorder.request(
            message.route, arrival.intended_us, actual_us, end_us, failure, evidence
        )
        latency_us = end_us - arrival.intended_us
        known_us = FAILED if failure else latency_us
        self.samples.add(arrival.number, message.route, known_us, layers_of(evidence))
        self.answered += answer is not None
        self.failed += failure is not None
        self.recorded += 1
        self._on_request(message, latency_us, answer, failure)

    def _exchange(self, message: Message) -> tuple[Answer | None, str | None]:
        """The answer, if one came, and why the request failed, if it did."""
        try:
            answer = self._clients.exchange(message.route, message.payload)
        except Failed as error:
            self.out_of_sockets += isinstance(error, GeneratorFailed)
            return None, error.reason
        except gevent.GreenletExit:
            return None, "unfinished"
        return answer, None if answer.status in message.expected else f"status {answer.status}"

    def _statistics_at(self, at_us: int) -> Mapping[str, Any] | str:
        """The server's statistics at ``at_us`` or, if that is past, now."""
        self.clock.sleep_until(at_us)
        if self._server is None:
            return "EDGEKPI_TOKEN is not set"
        return self._server.statistics()

    def _merge(self, before: Mapping[str, Any] | str, after: Mapping[str, Any] | str) -> None:
        """Add the server's statistics over the window, or note why there are none."""
        unreadable = next((reading for reading in (before, after) if isinstance(reading, str)), "")
        if isinstance(before, str) or isinstance(after, str):
            self.notes.append(f"no statistics of the server: {unreadable}")
            return
        facts = {name: after.get(name) for name in ("process_rss_bytes", "sleep_floor_us")}
        self.server_facts = {n: value for n, value in facts.items() if type(value) is int}
        try:
            merge_window(self.recorder, before, after)
        except ValueError as error:
            self.notes.append(f"the server's statistics cannot be used: {error}")
