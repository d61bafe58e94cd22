"""Ctrl-C at the worst of moments."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reference_impl.adapters.sqlite import SqliteEngine
from scenarios.loader import load
from sim.bridge import SimJob
from sim.interrupt import between_events
from sim.simulate import simulate

SHORT = ["measure={warmup_s: 0.5, window_s: 1}"]


@pytest.fixture(autouse=True)
def plain_handler() -> Iterator[None]:
    """Python's own, whatever an earlier test of the process has left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(method: Callable[..., Any], at: int) -> Callable[..., Any]:
    """``method``, with a Ctrl-C at the beginning of its so manieth call."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            signal.raise_signal(signal.SIGINT)
        return method(*args, **kwargs)

    return called


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [(SqliteEngine, "_rows_of", 50), (SimJob, "_end", 50), (SimJob, "_end", 600)],
)
def test_what_was_finished_is_recorded(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, at: int
) -> None:
    """Within a statement, at the end of a job, in the second replication: no other error."""
    monkeypatch.setattr(owner, name, interrupting(getattr(owner, name), at))
    handler = signal.getsignal(signal.SIGINT)
    record = simulate(load("smoke/tiny", SHORT), 1, 50).record
    assert record.invalid == [f"interrupted after {len(record.units)} of 50 replications"]
    assert len(record.units) < 50
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_second_one_is_raised_at_once() -> None:
    """For a run that does not come to its next check."""
    with between_events() as check:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_another_thread_has_no_signals_to_take() -> None:
    """It can simulate all the same."""
    done: list[int] = []

    def work() -> None:
        done.append(len(simulate(load("smoke/tiny", SHORT), 1, 1).record.units))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
