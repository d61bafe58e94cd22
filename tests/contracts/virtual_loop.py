"""An asyncio event loop whose time jumps to the next timer when nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop would block for a while, this one moves the clock on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0  # not 0: only differences may mean anything

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is set")
        if not ready and timeout is not None:
            self.now_s += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Virtual time for asyncio: nothing sleeps, and times come out exact to the microsecond."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s
