"""A clock for tests of whoever sends requests."""

from __future__ import annotations

from loadtest._dispatch import Clock


class FakeClock(Clock):
    """Time that passes only while somebody sleeps until something."""

    def __init__(self) -> None:
        super().__init__()
        self.at_us = 0

    def now_us(self) -> int:
        return getattr(self, "at_us", 0)

    def sleep_until(self, at_us: int) -> None:
        self.at_us = max(self.at_us, at_us)
