"""Who sends the requests of a run: this process alone, or workers (``_master``)."""

from __future__ import annotations

from typing import Protocol

import gevent

from loadtest._dispatch import Clock
from loadtest._generator import Generator, OnRequest
from loadtest._rows import Rows
from loadtest._tally import Tally
from loadtest._workload import Part, Workload
from reports.record import Unit


class WorkerFailed(Exception):
    """A worker cannot take part; the message says which and why."""


class Crew(Protocol):
    """All generators of one run, one or many. Called in the order of the methods here."""

    problems: list[str]
    """Why what they sent is not the whole plan, one sentence each."""

    def prepare(self) -> None:
        """Return when every generator is ready to be started.

        Raises:
            WorkerFailed: when one cannot be.
        """

    def start(self, clock: Clock) -> None:
        """Have them send, from the zero of ``clock`` on."""

    def wait(self) -> None:
        """Return when every request has its outcome and every generator has told all of them."""

    def abandon(self) -> None:
        """End early: nothing more is sent, what is in flight fails as unfinished."""

    def tallies(self) -> list[Tally]:
        """The numbers of each generator as last heard; may be asked for at any time."""

    def units(self) -> list[list[Unit]]:
        """The blocks of each generator."""

    def rows(self) -> Rows:
        """Every request of all of them."""

    def facts(self) -> dict[str, int]:
        """What else the record should say about them."""


class Alone:
    """One generator, in this process."""

    def __init__(self, workload: Workload, run_id: str, on_request: OnRequest) -> None:
        self.problems: list[str] = []
        self._workload = workload
        self._part = Part(run_id, 0, 1)
        self._on_request = on_request
        self._generator: Generator | None = None
        self._sending: gevent.Greenlet[[], None] | None = None

    def prepare(self) -> None:
        pass

    def start(self, clock: Clock) -> None:
        self._generator = Generator(self._workload, self._part, clock, self._on_request)
        self._sending = gevent.spawn(self._generator.play)

    def wait(self) -> None:
        assert self._sending is not None
        assert self._generator is not None
        self._sending.get()
        self._generator.finish()

    def abandon(self) -> None:
        if self._sending is not None and self._generator is not None:
            self._sending.kill()
            self._generator.finish()

    def tallies(self) -> list[Tally]:
        return [] if self._generator is None else [self._generator.tally()]

    def units(self) -> list[list[Unit]]:
        return [] if self._generator is None else [self._generator.units()]

    def rows(self) -> Rows:
        return Rows() if self._generator is None else self._generator.rows

    def facts(self) -> dict[str, int]:
        return {}
