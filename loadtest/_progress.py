"""How far a run is, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import gevent
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from loadtest._run import Run

BAR_EVERY_S = 1.0
"""Drawing takes a few ms during which no request leaves, so it is done rarely."""

LINE_EVERY_S = 5.0


def follow(run: Run) -> gevent.Greenlet[..., None]:
    """Show the progress of ``run`` until the returned greenlet is killed."""
    return gevent.spawn(_draw_bar if sys.stderr.isatty() else _print_lines, run)


def _draw_bar(run: Run) -> None:
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=run.plan.horizon_us)
        while True:
            progress.update(task, completed=run.clock.now_us(), description=_state(run))
            progress.refresh()
            gevent.sleep(BAR_EVERY_S)


def _print_lines(run: Run) -> None:
    while True:
        gevent.sleep(LINE_EVERY_S)
        print(f"edgekpi: {_state(run)}", file=sys.stderr, flush=True)


def _state(run: Run) -> str:
    """For example ``12 of 35 s (warm-up 5 s), 2,391 requests, 3 failed``."""
    total = run.total()
    total_s, warmup_s = run.plan.horizon_us / 1e6, run.plan.window.start_us / 1e6
    now_s = min(max(run.clock.now_us() / 1e6, 0.0), total_s)
    return (
        f"{now_s:.0f} of {total_s:g} s (warm-up {warmup_s:g} s), "
        f"{total.offered:,} requests, {total.failed:,} failed"
    )
