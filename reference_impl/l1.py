"""L1: the memory of one isolate, bounded in bytes and entries, every entry with an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cachetools import TLRUCache

ENTRY_OVERHEAD_BYTES = 200
"""Charged for each entry beside its text: the key, the record and its place in the order.

An assumption of the size of a JavaScript Map entry with its strings; it errs on the high side.
"""


class L1Entry(NamedTuple):
    """An immutable JSON text and the instant (runtime clock) from which it is not served."""

    text: str
    expires_us: int


class L1Cache:
    """Least recently used entries leave first; an entry is gone *at* its expiry, not after it.

    ``size_bytes`` is what was held after the last write: it only grows by writing, and to sweep
    out what has expired at every look would cost more than the look-up itself.
    """

    def __init__(self, now_us: Callable[[], int], max_bytes: int, max_entries: int) -> None:
        self._max_entries = max_entries
        self.size_bytes = 0
        self._entries: TLRUCache[str, L1Entry] = TLRUCache(
            maxsize=max_bytes,
            ttu=lambda _key, entry, _now: entry.expires_us,
            timer=now_us,
            getsizeof=lambda entry: len(entry.text) + ENTRY_OVERHEAD_BYTES,
        )

    def get(self, key: str) -> str | None:
        """The text under ``key``, or ``None``."""
        entry = self._entries.get(key)
        return None if entry is None else entry.text

    def set(self, key: str, text: str, expires_us: int) -> None:
        """Keep ``text`` until ``expires_us``; one larger than the whole cache is not kept."""
        self._entries.pop(key, None)
        if len(text) + ENTRY_OVERHEAD_BYTES <= self._entries.maxsize:
            self._entries[key] = L1Entry(text, expires_us)
        while len(self._entries) > self._max_entries:
            self._entries.popitem()
        self.size_bytes = int(self._entries.currsize)

    def delete(self, key: str) -> bool:
        """Forget ``key``; true when it was there."""
        return self._entries.pop(key, None) is not None

    def delete_prefix(self, prefix: str) -> int:
        """Forget every key that starts with ``prefix``; how many there were."""
        return sum(self.delete(key) for key in list(self._entries) if key.startswith(prefix))

    def __len__(self) -> int:
        return len(self._entries)
