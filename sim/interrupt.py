"""Ctrl-C, taken at a moment when nothing is half done.

Python raises it wherever it happens to be: in a callback of SQLite, which then takes it for a
refusal, or between the end of a job and the note of it. A simulation is only left between events.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def between_events() -> Iterator[Callable[[], None]]:
    """Within it Ctrl-C is noted, and raised as ``KeyboardInterrupt`` by the next call of what this
    yields. A second one is raised at once. Outside the main thread, which gets the signals, nothing
    is changed."""
    noted = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal noted
        noted = True
        signal.signal(signal.SIGINT, before)

    def check() -> None:
        if noted:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
