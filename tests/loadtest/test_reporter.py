"""What a worker sends its master, from a generator that is made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from loadtest import _worker
from loadtest._heard import Heard
from loadtest._rows import Row, Rows
from loadtest._tally import Tally
from loadtest._worker import Reporter
from reference_impl.messages import Evidence
from reports.record import Window
from reports.recorder import Recorder


class FakeGenerator:
    """Counts one request when told; ``finish`` may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.recorder = Recorder(Window(0, 100), blocks=10, cache_types=["attribution"])
        self.rows = Rows()
        self._error = error

    def count(self, at_us: int) -> None:
        number = len(self.rows)
        self.recorder.request("tracking", at_us, at_us, at_us + 500, None, Evidence())
        self.rows.add(Row(number, at_us, at_us, at_us + 500, 200, "tracking", "", ""))

    def tally(self) -> Tally:
        return Tally(offered=len(self.rows))

    def finish(self) -> None:
        if self._error is not None:
            raise self._error


class Reporting:
    """A reporter, and what has arrived of it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        runner = SimpleNamespace(send_message=lambda _kind, data: self.sent.append(data))
        self.generator: Any = FakeGenerator(error)
        self.reporter = Reporter(runner, "run-1")
        self.reporter.generator = cast(Any, self.generator)

    def blocks(self) -> list[list[int]]:
        return [sorted(report["blocks"]) for report in self.sent]

    def heard(self) -> Heard:
        heard = Heard(0)
        for report in self.sent:
            heard.take(report)
        return heard


def test_only_blocks_that_changed_are_sent() -> None:
    """Each whole, with the next sequence number; at the end all of them once more."""
    it = Reporting()
    it.generator.count(5)
    it.reporter.send()
    it.reporter.send()
    it.generator.count(95)
    it.generator.count(6)
    it.reporter.send()
    assert it.reporter.send_last("") == ""
    assert it.blocks() == [[0], [], [0, 9], [0, 9]]
    assert [report["sequence"] for report in it.sent] == [1, 2, 3, 4]
    assert [report["last"] for report in it.sent] == [False, False, False, True]


def test_the_master_hears_what_the_generator_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and rows are equal after many small reports."""
    monkeypatch.setattr(_worker, "ROWS_A_REPORT", 3)
    it = Reporting()
    for at_us in range(0, 100, 7):
        it.generator.count(at_us)
        if at_us % 2:
            it.reporter.send()
    it.reporter.send_last("")
    heard = it.heard()
    assert heard.is_complete
    assert list(heard.rows) == list(it.generator.rows)
    told = [unit.to_json() for unit in heard.units()]
    counted = [unit.to_json() for unit in it.generator.recorder.units()]
    assert [unit["series"] for unit in told] == [unit["series"] for unit in counted]
    assert heard.tally.offered == len(heard.rows)


@pytest.mark.parametrize("problem", ["", "it was stopped"])
def test_a_log_that_cannot_be_read_back_is_told(problem: str) -> None:
    """Unless something else has gone wrong before; the rest is sent all the same."""
    it = Reporting(OSError("gone"))
    it.generator.count(5)
    told = it.reporter.send_last(problem)
    assert told == problem or told == "its histogram log cannot be read back: gone"
    assert it.heard().problem == told
    assert len(it.heard().rows) == 1


def test_a_worker_without_a_generator_still_ends() -> None:
    """It could not begin: the master hears why, and waits no longer."""
    it = Reporting()
    it.reporter.generator = None
    it.reporter.send_last("no space left")
    assert (it.heard().is_complete, it.heard().problem) == (True, "no space left")
