"""How far a long computation is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0


class Counter:
    """Counts towards an expected total; used as a context manager. Shows nothing when quiet."""

    def __init__(self, title: str, total: int, *, quiet: bool = False) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._quiet = quiet
        self._next_line_s = time.monotonic() + LINE_EVERY_S
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True)
        self._on_terminal = console.is_terminal and not quiet

    def __enter__(self) -> Counter:
        if self._on_terminal:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._on_terminal:  # one that was never started would print an empty line
            self._bar.stop()

    def advance(self, count: int) -> None:
        """``count`` more are done."""
        self._done += count
        if self._on_terminal:
            self._bar.advance(self._task, count)
        elif not self._quiet and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_EVERY_S
            print(f"{self._title}: {self._done:,} of about {self._total:,}", file=sys.stderr)
