"""The workers of a distributed run as the master sees them.

Every worker plays its part of the same plan, from one zero that is placed on each worker's own
clock: their clocks may differ. It sends what it has counted as cumulative blobs, so a message that
is lost costs nothing, and the run ends when every worker has sent its last one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from gevent.queue import Empty, Queue

from loadtest._crew import WorkerFailed
from loadtest._dispatch import GIVE_UP_US, Clock
from loadtest._heard import Heard
from loadtest._protocol import GO, HALT, PING, PONG, PREPARED, REPORT, STOP
from loadtest._rows import Rows
from loadtest._tally import Tally
from loadtest._workload import Workload
from reports.record import Unit

PREPARE_TIMEOUT_S = 60.0
LAST_REPORT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.5
PINGS = 5
"""Of so many exchanges the quickest tells a worker's clock best."""


class Workers:
    """A crew of Locust workers: those that are connected when it is made.

    Raises:
        WorkerFailed: when there is none.
    """

    def __init__(self, runner: Any, workload: Workload, run_id: str) -> None:
        self.problems: list[str] = []
        self._runner = runner
        self._workload = workload
        self._run_id = run_id
        self._clock: Clock | None = None  # until it is started
        self._ends_us = 0
        self._halted = False
        self._inbox: Queue[tuple[str, Any, int]] = Queue()
        ids = [node.id for node in runner.clients.all if node.state != "missing"]
        if not ids:
            raise WorkerFailed("no worker has connected")
        ids.sort(key=runner.get_worker_index)
        self._heard = {id_: Heard(index) for index, id_ in enumerate(ids)}

    def tell(self, message: Any) -> None:
        """Take a message of a worker, as Locust's listener for it."""
        self._inbox.put((message.type, message, time.perf_counter_ns()))

    def prepare(self) -> None:
        """Wait until every worker has the same workload, and compare clocks.

        Raises:
            WorkerFailed: when one has another workload, none, or does not answer.
        """
        for id_, message, _ in self._each(PREPARED, PREPARE_TIMEOUT_S):
            name = self._heard[id_].name
            if problem := message["problem"]:
                raise WorkerFailed(f"{name} cannot take part: {problem}")
            if message["fingerprint"] != self._workload.fingerprint:
                raise WorkerFailed(
                    f"{name} would send other requests: it needs the same version of edgekpi and "
                    "numpy, and the same scenario file, as the master"
                )
        for _ in range(PINGS):
            sent_ns = time.perf_counter_ns()
            self._send(PING, {})
            for id_, message, at_ns in self._each(PONG, PREPARE_TIMEOUT_S):
                self._heard[id_].compare_clock(sent_ns, at_ns, message)

    def start(self, clock: Clock) -> None:
        self._ends_us = self._workload.plan.horizon_us + GIVE_UP_US
        self._ends_us += round(self._workload.setup.scenario.client.timeout_s * 1e6)
        self._clock = clock
        for id_, heard in self._heard.items():
            go = {
                "run_id": self._run_id,
                "index": heard.index,
                "count": len(self._heard),
                "zero_ns": clock.zero_ns + heard.clock_offset_ns,
                "wall_zero_us": clock.wall_zero_us,
            }
            self._runner.send_message(GO, go, id_)

    def wait(self) -> None:
        """Return after the last report of every worker, or at once when one is lost."""
        while any(not heard.is_complete for heard in self._heard.values()):
            self._take_reports(LOOK_EVERY_S)
            self._look_for_lost()
            self._spread_halt()
            if self.problems:
                self.abandon()
                return

    def abandon(self) -> None:
        """Have all that are still there stop, and wait a little for what they have to say."""
        self._send(STOP, {})
        if self._clock is None:
            return
        until = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < until and any(
            not heard.is_complete and not self._is_lost(id_) for id_, heard in self._heard.items()
        ):
            self._take_reports(LOOK_EVERY_S)

    def tallies(self) -> list[Tally]:
        return [heard.tally for heard in self._heard.values()]

    def units(self) -> list[list[Unit]]:
        return [heard.units() for heard in self._heard.values()]

    def rows(self) -> Rows:
        rows = Rows()
        for heard in self._heard.values():
            rows.extend(heard.rows)
        return rows

    def facts(self) -> dict[str, int]:
        """How far the clocks of the workers' machines were apart, and how well that is known."""
        return {
            "wall_clock_skew_max_us": max(abs(h.wall_skew_us) for h in self._heard.values()),
            "zero_error_max_us": max(h.clock_error_us for h in self._heard.values()),
        }

    def _send(self, kind: str, data: Any) -> None:
        for id_ in self._heard:
            if not self._is_lost(id_):
                self._runner.send_message(kind, data, id_)

    def _each(self, kind: str, timeout_s: float) -> Iterator[tuple[str, Any, int]]:
        """One message of this kind from every worker, as they come: who, what, when."""
        missing = set(self._heard)
        until = time.monotonic() + timeout_s
        while missing:
            try:
                got, message, at_ns = self._inbox.get(timeout=LOOK_EVERY_S)
            except Empty:
                lost = sorted(self._heard[id_].name for id_ in missing if self._is_lost(id_))
                if lost or time.monotonic() > until:
                    waiting = lost or sorted(self._heard[id_].name for id_ in missing)
                    raise WorkerFailed(f"no answer from {', '.join(waiting)}") from None
                continue
            if got == kind and message.node_id in missing:
                missing.discard(message.node_id)
                yield message.node_id, message.data, at_ns

    def _take_reports(self, within_s: float) -> None:
        """Take everything that has come, or what comes next within this time."""
        try:
            kind, message, _ = self._inbox.get(timeout=within_s)
            while True:
                if kind == REPORT and message.data["run_id"] == self._run_id:
                    self._heard[message.node_id].take(message.data)
                kind, message, _ = self._inbox.get_nowait()
        except Empty:
            return

    def _look_for_lost(self) -> None:
        assert self._clock is not None  # lost before the start is for prepare to notice
        now_us = self._clock.now_us()
        late = now_us > self._ends_us + LAST_REPORT_TIMEOUT_S * 1e6
        for id_, heard in self._heard.items():
            if heard.is_complete:
                if heard.problem:
                    self.problems.append(f"{heard.name} failed: {heard.problem}")
            elif self._is_lost(id_) or late:
                self.problems.append(
                    f"{heard.name} was lost about {now_us / 1e6:.0f} s after the start, and what "
                    "it had not reported yet with it: see its own messages, and start again"
                )

    def _spread_halt(self) -> None:
        """Have all workers send no more as soon as one has found a reason."""
        halt = next((heard.tally.halt for heard in self._heard.values() if heard.tally.halt), None)
        if halt is not None and not self._halted:
            self._halted = True
            self._send(HALT, list(halt))

    def _is_lost(self, id_: str) -> bool:
        """Whether a worker has quit or its heartbeats have stopped (Locust waits some 4 s)."""
        return id_ not in self._runner.clients or self._runner.clients[id_].state == "missing"


KINDS: Sequence[str] = (PREPARED, PONG, REPORT)
"""What workers send."""
