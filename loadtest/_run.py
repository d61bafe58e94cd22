"""One run: the plan played against the target by its crew, and everything seen of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gevent

from loadtest._crew import Crew, WorkerFailed
from loadtest._dispatch import Clock
from loadtest._generator import BLOCKS, LOG_PATTERN
from loadtest._server import UNSEEN, EmulationFailed, Server, merge_window
from loadtest._tally import Tally
from loadtest._untold import CACHE, note, untold, without_lookups
from loadtest._workload import Workload
from reports.merge import merge
from reports.record import RunRecord, Unit
from reports.recorder import Recorder
from reports.verdict import Verdict

HEAD_START_US = 500_000
"""From the word "go" to zero: time for it to reach every worker."""

logger = logging.getLogger(__name__)


CRASHED = (
    "a listener or greenlet that is not ours failed during the run: see its traceback, and mend it "
    "or leave it out"
)


class Stopped(Exception):
    """Somebody ended the run before its plan; the message says who."""


class Result(NamedTuple):
    """A run that has been judged and written down."""

    record: RunRecord
    verdict: Verdict


class Run:
    """A run in a greenlet of its own; ``finish`` judges it and writes it down.

    ``result`` stays ``None`` until the record is written; whoever finds it so has none.
    ``crashed`` tells whether something else in this process has failed.
    """

    def __init__(
        self,
        workload: Workload,
        run_id: str,
        crew: Crew,
        finish: Callable[[Run], Result],
        crashed: Callable[[], bool],
    ) -> None:
        setup = workload.setup
        self.setup = setup
        self.plan = workload.plan
        self.id = run_id
        self.crew = crew
        self._finish = finish
        self._crashed = crashed
        self.invalid: list[str] = []
        self.notes = list(setup.notes)
        self.server_facts: dict[str, int] = {}
        self._stood_in: set[str] = set()
        self.result: Result | None = None
        self.clock = Clock()
        self._statistics = Recorder(
            self.plan.window, blocks=BLOCKS, cache_types=setup.scenario.kpis.cache_types
        )
        self._server = Server(setup, run_id) if setup.token else None
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self, at_end: Callable[[], None]) -> None:
        """Begin; ``at_end`` is called once everything is over, whatever happened."""
        self._greenlet = gevent.spawn(self._run, at_end)

    def stop(self, reason: str) -> None:
        """End the run now, if it is still going, and wait until its record is saved."""
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(Stopped(reason))

    def total(self) -> Tally:
        """The numbers of all generators, as far as they are known now."""
        total = Tally()
        for tally in self.crew.tallies():
            total.add(tally)
        return total

    def units(self) -> list[Unit]:
        """The blocks of all generators, and what the server told, as one list of blocks."""
        parts = self.crew.units()
        if CACHE in self._stood_in:
            parts = [[without_lookups(unit) for unit in blocks] for blocks in parts]
        parts.append(self._statistics.units())
        return [merge(blocks) for blocks in zip(*parts, strict=True)]

    def _run(self, at_end: Callable[[], None]) -> None:
        try:
            self._play_or_say_why_not()
            self.result = self._finish(self)
        except Exception:
            logger.exception("the run's record could not be completed")
        finally:
            at_end()

    def _play_or_say_why_not(self) -> None:
        try:
            self._play()
        except Stopped as reason:
            self.invalid.append(str(reason))
            self.crew.abandon()
        except EmulationFailed as error:
            self.invalid.append(f"the server did not start its emulated world: {error}")
            self.crew.abandon()
        except WorkerFailed as error:
            self.invalid.append(str(error))
            self.crew.abandon()
        except Exception as error:
            logger.exception("the load test itself failed")
            self.invalid.append(f"the load test itself failed: {error!r}")
            self.crew.abandon()
        self.invalid += self.crew.problems
        if self._crashed():
            self.invalid.append(CRASHED)

    def _play(self) -> None:
        for log in self.setup.out.glob(LOG_PATTERN):
            log.unlink()  # of an earlier run, perhaps with more workers
        self.crew.prepare()
        self.clock.start(self._zero_ns())
        self.crew.start(self.clock)
        statistics = gevent.spawn(self._statistics_at, self.plan.window.start_us)
        try:
            self.crew.wait()
            # Else it is not valid or ended early, whatever the server has to say.
            if not self.crew.problems and self.total().halt is None:
                self._merge(statistics.get(), self._statistics_at(0))
        finally:
            statistics.kill()

    def _zero_ns(self) -> int:
        if self.setup.kind != "emulated":
            return time.perf_counter_ns() + HEAD_START_US * 1000
        if self._server is None:
            raise EmulationFailed("EDGEKPI_TOKEN is not set")
        return self._server.start_emulation(self.setup.seed)

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
        wanted = set(UNSEEN)
        if self.setup.kind == "live":
            wanted |= untold([unit for blocks in self.crew.units() for unit in blocks])
        try:
            found = merge_window(self._statistics, before, after, wanted)
        except ValueError as error:
            self.notes.append(f"the server's statistics cannot be used: {error}")
            return
        self._stood_in = found - set(UNSEEN)
        if self._stood_in:
            self.notes.append(note(self._stood_in))
