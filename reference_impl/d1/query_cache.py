"""What an isolate read from D1 within the last minute, until it writes to what it had read.

An entry belongs to one question: the name, the text and the values of a statement. A read that
a write of the same isolate overtakes is not kept. Writes of other isolates are seen when the
entry's life ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from reference_impl.d1.schema import COLUMNS
from reference_impl.keys import cache_key
from reference_impl.ports import SqlValue

Row = dict[str, Any]
RowKeys = frozenset[str]
"""Which rows of a table, as ``column=value`` texts; empty for any row."""

LIFE_US = 60_000_000
"""Life of an entry, from the specification."""

MAX_ENTRIES = 1000
MAX_BYTES = 4 * 1024 * 1024
"""Bounds of the cache (assumptions: a thirtieth of an isolate's 128 MiB)."""

ENTRY_BYTES = 500
VALUE_BYTES = 60
"""Charged for an entry and for each value beside its text; rough, and on the high side."""


class Question(NamedTuple):
    """What was asked: a name in parts for invalidation, and the statement that answers it.

    ``reads`` says which rows of which tables the answer rests on. Without any table it rests on
    whatever there is.
    """

    parts: tuple[str, ...]
    sql: str
    values: tuple[SqlValue, ...]
    reads: Mapping[str, RowKeys]

    def key(self) -> str:
        """Different for any two questions; ``repr`` tells 1 from 1.0 and from '1'."""
        return repr((self.parts, self.sql, self.values))

    def names(self) -> tuple[str, str]:
        """The parts as they read, and as the cache manager would make a key of them."""
        return ":".join(self.parts), cache_key(*self.parts)


class Reading:
    """One read of D1: under way, then kept, until it is forgotten."""

    __slots__ = ("expires_us", "forgotten", "key", "marks", "names", "rows", "size")

    def __init__(self, question: Question) -> None:
        self.key = question.key()
        self.names = question.names()
        self.marks = _marks(question.reads)
        self.rows: tuple[Row, ...] = ()
        self.size = 0
        self.expires_us = 0
        self.forgotten = False


class QueryCache:
    """The kept readings of one isolate, bounded in entries and bytes, each for a minute.

    All live equally long, so the oldest is the next to expire: it is also what leaves first when
    there is no room, and expired entries are swept from that end at every write to the cache.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._now_us = now_us
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._kept: dict[str, Reading] = {}
        self._readers: dict[tuple[str, str], dict[Reading, None]] = {}
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, question: Question) -> list[Row] | None:
        """The rows kept for ``question``, as copies of the caller's own; None without any."""
        reading = self._kept.get(question.key())
        if reading is None or reading.expires_us <= self._now_us():
            self.misses += 1
            return None
        self.hits += 1
        return [dict(row) for row in reading.rows]

    def begin(self, question: Question) -> Reading:
        """Note a read before it starts; finish it by :meth:`keep` or :meth:`forget`."""
        reading = Reading(question)
        for mark in reading.marks:
            self._readers.setdefault(mark, {})[reading] = None
        return reading

    def keep(self, reading: Reading, rows: Sequence[Row]) -> None:
        """Keep what was read, unless a write came in between or it is too large for the cache."""
        self._sweep()
        if reading.forgotten:
            return
        reading.rows = tuple(dict(row) for row in rows)
        reading.size = _size(reading)
        if reading.size > self._max_bytes:
            self.forget(reading)
            return
        if (older := self._kept.get(reading.key)) is not None:
            self.forget(older)
        reading.expires_us = self._now_us() + LIFE_US
        self._kept[reading.key] = reading
        self.size_bytes += reading.size
        while len(self._kept) > self._max_entries or self.size_bytes > self._max_bytes:
            self.forget(next(iter(self._kept.values())))

    def forget(self, reading: Reading) -> None:
        """Drop a reading, kept or still under way."""
        if reading.forgotten:
            return
        reading.forgotten = True
        for mark in reading.marks:
            readers = self._readers[mark]
            del readers[reading]
            if not readers:
                del self._readers[mark]
        if self._kept.get(reading.key) is reading:
            del self._kept[reading.key]
            self.size_bytes -= reading.size

    def written(self, writes: Mapping[str, RowKeys]) -> None:
        """Forget what rests on rows that were written; a write to no known table, on any."""
        if not writes:
            self._forget_marked([_ALL])
        for table, keys in writes.items():
            marks = [(table, key) for key in (*keys, _ANY_ROW)] if keys else [(table, _TABLE)]
            self._forget_marked([*marks, _UNKNOWN])

    def invalidate(self, pattern: str) -> int:
        """Forget every question whose name fits ``pattern``, where only ``*`` is special.

        The pattern may be written as the parts read, joined by ``:``, or as a cache key of them.
        Answers how many kept entries went; reads under way are forgotten as well.
        """
        found = [
            reading
            for reading in self._readers.get(_ALL, {})
            if any(matches(name, pattern) for name in reading.names)
        ]
        before = len(self._kept)
        for reading in found:
            self.forget(reading)
        return before - len(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def _forget_marked(self, marks: Iterable[tuple[str, str]]) -> None:
        for mark in marks:
            if readers := self._readers.get(mark):
                for reading in list(readers):
                    self.forget(reading)

    def _sweep(self) -> None:
        now_us = self._now_us()
        while self._kept and (oldest := next(iter(self._kept.values()))).expires_us <= now_us:
            self.forget(oldest)


_ALL = ("", "*")
_UNKNOWN = ("", "?")
_TABLE = "table"
_ANY_ROW = "any row"
"""Marks beside the row keys, which hold a ``=``."""


def _marks(reads: Mapping[str, RowKeys]) -> tuple[tuple[str, str], ...]:
    """Under which marks a write finds a reading: its tables, and in each its rows or any row."""
    marks = [_ALL] if reads else [_ALL, _UNKNOWN]
    for table, keys in reads.items():
        marks += [(table, _TABLE), *((table, key) for key in keys or (_ANY_ROW,))]
    return tuple(marks)


def matches(name: str, pattern: str) -> bool:
    """Whether ``name`` is ``pattern``, with each ``*`` standing for any text, in linear time."""
    head, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(head):
        return False
    *middle, tail = rest
    at = len(head)
    for piece in middle:
        found = name.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(name) - at >= len(tail) and name.endswith(tail)


@lru_cache(maxsize=1000)
def tables_in(sql: str) -> Mapping[str, RowKeys]:
    """The tables of the schema that a statement names, each with any of its rows.

    Every word counts, one in a text literal too: to forget too much costs a read, to forget too
    little would serve what is no longer so.
    """
    words = set(_WORD(sql.lower()))
    return {table: frozenset() for table in COLUMNS if table in words}


@lru_cache(maxsize=1000)
def is_question(sql: str) -> bool:
    """Whether a statement surely only reads: a single SELECT or VALUES, or WITH without a write."""
    begins = _READ(text := sql.strip().rstrip(";").lower())
    if begins is None or ";" in text:
        return False
    return begins[0] != "with" or not _WRITES.intersection(_WORD(text))


_WORD = re.compile(r"\w+").findall
_READ = re.compile(r"(?:select|values|with)\b").match
_WRITES = frozenset({"insert", "update", "delete", "replace"})


def _size(reading: Reading) -> int:
    texts = sum(
        len(value) if isinstance(value, str | bytes) else 8
        for row in reading.rows
        for value in row.values()
    )
    values = sum(map(len, reading.rows))
    names = len(reading.key) + sum(map(len, reading.names))
    return ENTRY_BYTES + names + texts + VALUE_BYTES * values
