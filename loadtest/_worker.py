"""A worker of a distributed run: it plays its part and tells the master all of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from loadtest._dispatch import Clock
from loadtest._generator import BLOCKS, Generator, OnRequest
from loadtest._guard import Refused
from loadtest._options import prepare
from loadtest._protocol import GO, HALT, PING, PONG, PREPARED, REPORT, STOP
from loadtest._rows import Rows
from loadtest._run import CRASHED
from loadtest._tally import Halt, Tally
from loadtest._workload import Part, Workload, workload_of
from reports.cli import NOT_VALID

REPORT_EVERY_S = 2.0
ROWS_A_REPORT = 5_000
"""More would hold up requests that are due while they are packed."""

YIELD_S = 0.001

logger = logging.getLogger(__name__)


class Worker:
    """All runs that one Locust worker takes part in, one after another.

    ``code`` is the exit code of its process: 22 once a part has begun until all of it is told.
    """

    def __init__(
        self, environment: Any, on_request: OnRequest, crashed: Callable[[], bool]
    ) -> None:
        self.code = 0
        self._environment = environment
        self._runner = environment.runner
        self._on_request = on_request
        self._crashed = crashed
        self._workload: Workload | None = None
        self._generator: Generator | None = None
        self._stoppable: gevent.Greenlet[..., None] | None = None
        self._done = Event()
        self._done.set()
        self._runner.register_message(PING, self._on_ping)
        self._runner.register_message(GO, self._on_go)
        self._runner.register_message(HALT, self._on_halt)
        self._runner.register_message(STOP, lambda **_: self.stop())

    def on_test_start(self, **_: Any) -> None:
        """Read the scenario (Locust has just handed over the master's options) and say so."""
        problem = ""
        self._workload = None
        try:
            setup = prepare(self._environment.parsed_options, self._environment.host)
            self._workload = workload_of(setup)
        except Refused as refusal:
            problem = "; ".join(refusal.problems)
        except Exception as error:
            logger.exception("the load test could not be prepared")
            problem = repr(error)
        fingerprint = self._workload.fingerprint if self._workload else ""
        self._runner.send_message(PREPARED, {"problem": problem, "fingerprint": fingerprint})

    def stop(self) -> None:
        """End the part now, if one is being played; the last report follows."""
        playing, self._stoppable = self._stoppable, None
        if playing is not None:
            playing.kill(block=False)

    def stop_and_wait(self, **_: Any) -> None:
        """The same, and return when the last report has been sent."""
        self.stop()
        self._done.wait()

    def _on_ping(self, **_: Any) -> None:
        clocks = {"perf_ns": time.perf_counter_ns(), "wall_us": time.time_ns() // 1000}
        self._runner.send_message(PONG, clocks)

    def _on_go(self, msg: Any, **_: Any) -> None:
        self.code = NOT_VALID
        self._done.clear()
        self._stoppable = gevent.spawn(self._play, msg.data)

    def _on_halt(self, msg: Any, **_: Any) -> None:
        """Send no more: the schedule ends by itself, and what is in flight is waited for."""
        if self._generator is not None:
            self._generator.watch.halt = Halt(*msg.data)

    def _play(self, go: dict[str, Any]) -> None:
        """Play the part; whatever ends it, the last report says what was seen."""
        reporter = Reporter(self._runner, go["run_id"])
        problem = ""
        try:
            self._send_part(go, reporter)
        except gevent.GreenletExit:
            problem = "it was stopped before the end of its part"
        except Exception as error:
            logger.exception("this worker's part failed")
            problem = repr(error)
        self._stoppable = None
        try:
            problem = problem or (CRASHED if self._crashed() else "")
            problem = reporter.send_last(problem)
            self.code = NOT_VALID if problem else 0
        except Exception:
            logger.exception("this worker's last report could not be sent")
        finally:
            self._done.set()

    def _send_part(self, go: dict[str, Any], reporter: Reporter) -> None:
        assert self._workload is not None  # the master waits for it before it says go
        clock = Clock()
        clock.start(go["zero_ns"], go["wall_zero_us"])
        part = Part(go["run_id"], go["index"], go["count"])
        generator = Generator(self._workload, part, clock, self._on_request)
        reporter.generator = self._generator = generator
        reporting = gevent.spawn(reporter.send_regularly)
        try:
            generator.play()
        finally:
            reporting.kill()


class Reporter:
    """Sends the master what one generator has counted, each time with the next number."""

    def __init__(self, runner: Any, run_id: str) -> None:
        self.generator: Generator | None = None
        self._runner = runner
        self._run_id = run_id
        self._sequence = 0
        self._rows_sent = 0
        self._sent: dict[int, dict[str, int]] = {}

    def send_regularly(self) -> None:
        """Send a report now and then, until killed."""
        while True:
            gevent.sleep(REPORT_EVERY_S)
            self.send()

    def send(self) -> None:
        """Send what has changed, and the next requests of the list."""
        self._send(self._changed_blocks())

    def send_last(self, problem: str) -> str:
        """Finish the generator and send all of it; why it is not complete, or nothing."""
        if self.generator is None:
            self._send({}, problem=problem, last=True)
            return problem
        try:
            self.generator.finish()
        except (OSError, ValueError) as error:
            problem = problem or f"its histogram log cannot be read back: {error}"
        while len(self.generator.rows) - self._rows_sent > ROWS_A_REPORT:
            self._send({})
        self._sent.clear()  # all blocks once more, in case that a report was lost
        self._send(self._changed_blocks(), problem=problem, last=True)
        return problem

    def _changed_blocks(self) -> dict[int, dict[str, Any]]:
        """The blocks that have counted something since they were sent; each is cumulative."""
        assert self.generator is not None
        blocks = {}
        for index in range(BLOCKS):
            unit = self.generator.recorder.unit(index)
            if unit.counts != self._sent.get(index, {}):
                blocks[index] = unit.to_json()
                self._sent[index] = unit.counts
                gevent.sleep(YIELD_S)  # encoding takes some ms, and requests may be due
        return blocks

    def _send(
        self, blocks: dict[int, dict[str, Any]], *, problem: str = "", last: bool = False
    ) -> None:
        tally, rows = Tally(), Rows()
        if self.generator is not None:
            tally, rows = self.generator.tally(), self.generator.rows
        until = min(self._rows_sent + ROWS_A_REPORT, len(rows))
        self._sequence += 1
        report = {
            "run_id": self._run_id,
            "sequence": self._sequence,
            "last": last,
            "problem": problem,
            "tally": tally.to_message(),
            "blocks": blocks,
            "rows": rows.pack(self._rows_sent, until),
        }
        self._runner.send_message(REPORT, report)
        self._rows_sent = until
