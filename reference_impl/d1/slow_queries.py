"""The log of slow statements: bounded, newest first, with counts of all there were."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

SLOW_US = 100_000
"""Above this a call to D1 is slow (100 ms, from the specification)."""

KEPT = 100
"""Entries the log holds (assumption: enough to see a pattern, small enough to answer with)."""

TEXT_CHARS = 200
"""How much of a statement's text an entry shows; its values are never kept."""


class SlowQuery(NamedTuple):
    """One slow call: what it was, how long it took, and the time of day at which it ended."""

    name: str
    total_us: int
    ended_wall_us: int
    failed: bool
    sql: str


class SlowQueryLog:
    """What one isolate saw of slow calls since its start."""

    def __init__(self) -> None:
        self._latest: deque[SlowQuery] = deque(maxlen=KEPT)
        self.by_name: Counter[str] = Counter()

    def note(self, query: SlowQuery) -> None:
        """Count ``query`` and keep it."""
        self.by_name[query.name] += 1
        self._latest.appendleft(query._replace(sql=query.sql[:TEXT_CHARS]))

    @property
    def count(self) -> int:
        """How many there were, those no longer kept included."""
        return self.by_name.total()

    def latest(self) -> list[SlowQuery]:
        """The newest ones, newest first."""
        return list(self._latest)
