"""The master's side of a distributed run, against workers that are made up."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from loadtest import _master
from loadtest._crew import WorkerFailed
from loadtest._dispatch import Clock
from loadtest._master import Workers
from loadtest._protocol import GO, HALT, PING, PONG, PREPARED, REPORT, STOP
from loadtest._rows import Row, Rows
from loadtest._tally import Halt, Tally
from reference_impl.messages import Evidence
from reports.record import Window
from reports.recorder import Recorder

RUN = "run-1"


class FakeRunner:
    """A master's runner with three workers, who answer as the test wants."""

    def __init__(self) -> None:
        names = ["c", "a", "b"]  # connected in this order
        self.clients: Any = FakeClients({n: SimpleNamespace(id=n, state="ready") for n in names})
        self.sent: list[tuple[str, Any, str]] = []
        self.answer: Callable[[str, Any, str], None] = lambda *_: None

    def get_worker_index(self, id_: str) -> int:
        return "cab".index(id_) * 2  # with gaps: workers that have gone keep their index

    def send_message(self, kind: str, data: Any, id_: str) -> None:
        self.sent.append((kind, data, id_))
        self.answer(kind, data, id_)


class FakeClients(dict[str, Any]):
    @property
    def all(self) -> list[Any]:
        return list(self.values())


def workload() -> Any:
    client = SimpleNamespace(timeout_s=1)
    return SimpleNamespace(
        fingerprint="same",
        plan=SimpleNamespace(horizon_us=1_000),
        setup=SimpleNamespace(scenario=SimpleNamespace(client=client)),
    )


def workers(runner: FakeRunner) -> Workers:
    return Workers(runner, workload(), RUN)


def say(crew: Workers, kind: str, id_: str, **data: Any) -> None:
    crew.tell(SimpleNamespace(type=kind, node_id=id_, data=data))


def report(sequence: int, requests: int, *, last: bool = False, rows_from: int = 0) -> Any:
    """A report of a worker that has counted so many requests in all."""
    recorder, rows = Recorder(Window(0, 1_000), blocks=10, cache_types=["attribution"]), Rows()
    for number in range(requests):
        recorder.request("tracking", number, number, number + 500, None, Evidence())
        rows.add(Row(number, number, number, number + 500, 200, "tracking", "", ""))
    return {
        "run_id": RUN,
        "sequence": sequence,
        "last": last,
        "problem": "",
        "tally": Tally(offered=requests, ended=requests).to_message(),
        "blocks": {i: unit.to_json() for i, unit in enumerate(recorder.units()) if unit.counts},
        "rows": rows.pack(rows_from, requests),
    }


@pytest.fixture
def started() -> tuple[FakeRunner, Workers]:
    """A crew of three that has been told to go."""
    runner = FakeRunner()
    crew = workers(runner)
    clock = Clock()
    clock.start(zero_ns=10**15)
    crew.start(clock)
    return runner, crew


def test_every_part_goes_to_one_worker(started: tuple[FakeRunner, Workers]) -> None:
    """Parts are numbered without gaps, in the order of Locust's worker index."""
    runner, _ = started
    parts = {id_: (go["index"], go["count"]) for kind, go, id_ in runner.sent if kind == GO}
    assert parts == {"c": (0, 3), "a": (1, 3), "b": (2, 3)}


def test_zero_is_placed_on_each_workers_own_clock() -> None:
    """A clock that is 5 s ahead, one an hour behind: each go means the same instant."""
    offsets = {"a": 5 * 10**9, "b": -3600 * 10**9, "c": 0}
    runner = FakeRunner()
    crew = workers(runner)

    def answer(kind: str, _data: Any, id_: str) -> None:
        if kind == PING:
            now = {"perf_ns": time.perf_counter_ns() + offsets[id_], "wall_us": 0}
            say(crew, PONG, id_, **now)

    runner.answer = answer
    for id_ in "abc":
        say(crew, PREPARED, id_, problem="", fingerprint="same")
    crew.prepare()
    clock = Clock()
    clock.start(zero_ns=10**15)
    crew.start(clock)
    for kind, go, id_ in runner.sent:
        if kind == GO:
            error_ns = go["zero_ns"] - 10**15 - offsets[id_]
            assert abs(error_ns) <= 1000 * (crew.facts()["zero_error_max_us"] + 1)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"problem": "", "fingerprint": "other"}, "worker 1 would send other requests"),
        ({"problem": "no such file", "fingerprint": ""}, "worker 1 cannot take part: no such file"),
    ],
)
def test_a_worker_with_another_plan_is_refused(said: dict[str, str], sentence: str) -> None:
    """Before anything is sent."""
    crew = workers(FakeRunner())
    say(crew, PREPARED, "c", problem="", fingerprint="same")
    say(crew, PREPARED, "a", **said)
    with pytest.raises(WorkerFailed, match=sentence):
        crew.prepare()


def test_a_worker_that_dies_before_the_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it."""
    monkeypatch.setattr(_master, "LOOK_EVERY_S", 0)
    runner = FakeRunner()
    crew = workers(runner)
    for id_ in "ca":
        say(crew, PREPARED, id_, problem="", fingerprint="same")
    runner.clients["b"].state = "missing"
    with pytest.raises(WorkerFailed, match="no answer from worker 2"):
        crew.prepare()


def test_no_worker_is_no_crew() -> None:
    """Workers that are missing do not count."""
    runner = FakeRunner()
    for node in runner.clients.all:
        node.state = "missing"
    with pytest.raises(WorkerFailed, match="no worker has connected"):
        workers(runner)


def test_reports_are_cumulative(started: tuple[FakeRunner, Workers]) -> None:
    """A later one replaces the numbers, an earlier one that is late changes nothing."""
    _, crew = started
    say(crew, REPORT, "a", **report(1, 10))
    say(crew, REPORT, "a", **report(3, 30, last=True, rows_from=10))
    say(crew, REPORT, "a", **report(2, 20))
    say(crew, REPORT, "b", **report(9, 5, last=True))
    say(crew, REPORT, "c", **{**report(1, 99), "run_id": "an earlier run"})
    say(crew, REPORT, "c", **report(1, 0, last=True))
    crew.wait()
    assert crew.problems == []
    assert [tally.offered for tally in crew.tallies()] == [0, 30, 5]
    assert [part[0].counts.get("requests.tracking", 0) for part in crew.units()] == [0, 30, 5]
    assert len(crew.rows()) == 35


def test_a_report_that_was_lost_costs_no_histogram(started: tuple[FakeRunner, Workers]) -> None:
    """Blocks are sent whole again at the end; the list of requests then shows its gap."""
    _, crew = started
    for id_ in "abc":
        say(crew, REPORT, id_, **report(7, 30, last=True, rows_from=10))
    crew.wait()
    assert [part[0].counts["requests.tracking"] for part in crew.units()] == [30] * 3
    assert len(crew.rows()) == 0


def test_a_reason_to_end_the_run_is_told_to_all(started: tuple[FakeRunner, Workers]) -> None:
    """Once, by whichever worker finds it; it is in the numbers of the run then."""
    runner, crew = started
    halted = report(1, 10)
    halted["tally"] = Tally(offered=10, ended=10, halt=Halt("alert", "too slow")).to_message()
    say(crew, REPORT, "a", **halted)
    say(crew, REPORT, "a", **{**halted, "sequence": 2, "last": True})
    done = report(3, 10, last=True)
    runner.answer = lambda kind, _, id_: None if id_ == "a" else say(crew, REPORT, id_, **done)
    crew.wait()
    told = [(data, id_) for kind, data, id_ in runner.sent if kind == HALT]
    assert told == [(["alert", "too slow"], id_) for id_ in "cab"]
    assert crew.problems == []
    assert Halt("alert", "too slow") in [tally.halt for tally in crew.tallies()]


def test_a_lost_worker_ends_the_run(
    started: tuple[FakeRunner, Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, the others are told to stop, and what all had reported is kept."""
    monkeypatch.setattr(_master, "LOOK_EVERY_S", 0)
    runner, crew = started
    say(crew, REPORT, "a", **report(1, 10))
    del runner.clients["b"]
    runner.answer = lambda kind, _, id_: say(crew, REPORT, id_, **report(2, 20, last=True))
    crew.wait()
    (problem,) = crew.problems
    assert problem.startswith("worker 2 was lost")
    assert [id_ for kind, _, id_ in runner.sent if kind == STOP] == ["c", "a"]
    assert [tally.offered for tally in crew.tallies()] == [20, 20, 0]


def test_a_worker_that_failed_says_why(started: tuple[FakeRunner, Workers]) -> None:
    """Its last report carries the reason."""
    _, crew = started
    say(crew, REPORT, "a", **{**report(1, 10, last=True), "problem": "disk full"})
    for id_ in "bc":
        say(crew, REPORT, id_, **report(1, 10, last=True))
    crew.wait()
    assert crew.problems == ["worker 1 failed: disk full"]


def test_who_stays_silent_when_told_to_stop_is_not_waited_for(
    started: tuple[FakeRunner, Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop is bounded."""
    monkeypatch.setattr(_master, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(_master, "STOP_TIMEOUT_S", 0)
    _, crew = started
    with gevent.Timeout(5):
        crew.abandon()
    assert [tally.offered for tally in crew.tallies()] == [0, 0, 0]
