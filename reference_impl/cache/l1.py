"""L1: the memory of an isolate or a request, bounded in bytes and entries, each with an end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cachetools import TLRUCache

ENTRY_OVERHEAD_BYTES = 200
"""Charged for each entry beside its text: the key, the record and its place in the order.

An assumption of the size of a JavaScript Map entry with its strings; it errs on the high side.
"""


class L1Entry(NamedTuple):
    """An immutable JSON text and the instant (runtime clock) from which it is not served."""

    text: str
    expires_us: int


class L1Counts:
    """What was asked of one memory or, when each request has its own, of all of them."""

    __slots__ = ("deletes", "hits", "misses", "sets")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from 0 again."""
        self.hits = self.misses = self.sets = self.deletes = 0


class _Entries(TLRUCache[str, L1Entry]):
    """With ``None`` for what is missing or has expired: "in" and then [] would look at the clock
    twice, and raising and catching costs more than either."""

    def __missing__(self, _key: str) -> Any:
        return None


class L1Cache:
    """Least recently used entries leave first; an entry is gone *at* its expiry, not after it.

    Every write sweeps out what has expired: memory only grows by writing, and to sweep at every
    look would cost more than the look-up itself. ``size_bytes`` is what was held after the last
    change.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        max_bytes: int,
        max_entries: int,
        counts: L1Counts | None = None,
    ) -> None:
        self._counts = counts or L1Counts()
        self._max_entries = max_entries
        self._entries = _Entries(
            maxsize=max_bytes,
            ttu=lambda _key, entry, _now: entry.expires_us,
            timer=now_us,
            getsizeof=lambda entry: len(entry.text) + ENTRY_OVERHEAD_BYTES,
        )
        self.size_bytes = 0

    def get(self, key: str) -> str | None:
        """The text under ``key``, or ``None``."""
        entry: L1Entry | None = self._entries[key]
        if entry is None:
            self._counts.misses += 1
            return None
        self._counts.hits += 1
        return entry.text

    def set(self, key: str, text: str, expires_us: int) -> None:
        """Keep ``text`` until ``expires_us``; one larger than the whole cache is not kept."""
        if key in self._entries:  # or its size would count twice while room is made
            self._remove(key)
        if len(text) + ENTRY_OVERHEAD_BYTES <= self._entries.maxsize:
            self._entries[key] = L1Entry(text, expires_us)
        while len(self._entries) > self._max_entries:
            self._entries.popitem()
        self._counts.sets += 1
        self.size_bytes = int(self._entries.currsize)

    def delete(self, key: str) -> bool:
        """Forget ``key``; true (and counted) when it was there."""
        there = self._remove(key)
        self._counts.deletes += there
        self.size_bytes = int(self._entries.currsize)
        return there

    def delete_many(self, keys: Iterable[str]) -> int:
        """Forget ``keys``; how many were there."""
        return sum(self.delete(key) for key in keys)

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with ``prefix`` and have not expired, in no particular order."""
        return [key for key in self._entries if key.startswith(prefix)]

    def invalidate_by_prefix(self, prefix: str) -> int:
        """Forget every key that starts with ``prefix``; how many there were."""
        return self.delete_many(self.list_keys(prefix))

    def clear(self) -> None:
        """Forget everything, the counts included."""
        self._entries.clear()
        self.size_bytes = 0
        self._counts.reset()

    def get_stats(self) -> dict[str, Any]:
        """What was asked and done since the last :meth:`clear`, and what is held."""
        counts = self._counts
        looked_up = counts.hits + counts.misses
        return {
            "hits": counts.hits,
            "misses": counts.misses,
            "hit_ratio": counts.hits / looked_up if looked_up else None,
            "sets": counts.sets,
            "deletes": counts.deletes,
            "entries": len(self._entries),
            "bytes": self.size_bytes,
        }

    def __len__(self) -> int:
        return len(self._entries)

    def _remove(self, key: str) -> bool:
        try:
            del self._entries[key]
        except KeyError:  # never there, or expired: then it is out of memory now
            return False
        return True
