"""Progress on stderr: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import io

import pytest

from reports import progress
from reports.progress import LINE_EVERY_S, Counter


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """One in LINE_EVERY_S seconds, however often something is done, and on stderr."""
    with Counter("simulating", 12_000) as counter:
        for _ in range(11):
            counter.advance(1_000)
            clock.now_s += LINE_EVERY_S / 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "simulating: 6,000 of about 12,000",
        "simulating: 11,000 of about 12,000",
    ]


def test_quiet_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even after a long time."""
    with Counter("simulating", 10, quiet=True) as counter:
        clock.now_s += 1_000
        counter.advance(5)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_gets_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, *, quiet: bool
) -> None:
    """Count and total while it lasts; the line is cleared at the end, also after an error."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    def advance_and_stop() -> None:
        with Counter("simulating", 1_000, quiet=quiet) as counter:
            counter.advance(250)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        advance_and_stop()
    shown = terminal.getvalue()
    assert ("250/1000" in shown) is not quiet
    assert shown.endswith("\x1b[2K") is not quiet
