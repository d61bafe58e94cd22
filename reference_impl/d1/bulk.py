"""Many rows into one table: identifiers checked, times in the one format, few statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from reference_impl.d1 import schema
from reference_impl.d1.arguments import BadArgument, checked_values
from reference_impl.d1.channels import account
from reference_impl.d1.statements import MAX_BOUND_VALUES, Command, in_parts, places
from reference_impl.ports import SqlValue
from reference_impl.times import parse

MAX_ROWS = 10_000
"""Rows of one batch; larger changes are to be cut, as
https://developers.cloudflare.com/d1/best-practices/ has it."""

_DERIVED = "channel_performance"
_SUMMED = frozenset({"multi_touch_attribution", "conversion_values"})
"""Tables that ``channel_performance`` is summed from."""


class Insertion:
    """The statements of one atomic insertion, and which of their results count its rows."""

    def __init__(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], now: str
    ) -> None:
        """
        Raises:
            BadArgument: an unknown table or column, a row that does not fit, over 10,000 rows.
        """
        names = _checked_columns(table, columns)
        checked = _checked_rows(names, rows)
        if "created_at" in schema.COLUMNS[table] and "created_at" not in names:
            names, checked = (*names, "created_at"), [(*row, now) for row in checked]
        self.columns = names
        self.rows = checked
        rows_in = inserts(table, names, checked)
        around = [account(sign, self._conversions(table), None, now) for sign in (-1, 1)]
        self.commands = [*around[0], *rows_in, *around[1]]
        self.counted = slice(len(around[0]), len(around[0]) + len(rows_in))

    def values_of(self, column: str) -> list[SqlValue]:
        """The different values of a column; none if it is not among those given."""
        if column not in self.columns:
            return []
        at = self.columns.index(column)
        return list(dict.fromkeys(row[at] for row in self.rows))

    def _conversions(self, table: str) -> list[str]:
        """The conversions whose part in the sums of their channels these rows change."""
        if table not in _SUMMED:
            return []
        return [value for value in self.values_of("conversion_id") if isinstance(value, str)]


def _checked_columns(table: str, columns: Sequence[str]) -> tuple[str, ...]:
    tables = [name for name in schema.COLUMNS if name != _DERIVED]
    if table == _DERIVED:
        raise BadArgument(f"{_DERIVED} is summed from the stored credits and takes no rows")
    if table not in tables:
        raise BadArgument(f"unknown table {table!a}; one of {', '.join(tables)}")
    known = schema.COLUMNS[table]
    if isinstance(columns, str) or not columns or len(set(columns)) != len(columns):
        raise BadArgument("columns must be a list of different names")
    for column in columns:
        if column not in known:
            names = ", ".join(known)
            raise BadArgument(f"unknown column {column!a} of {table}; one of {names}")
    return tuple(columns)


def _checked_rows(
    columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> list[tuple[SqlValue, ...]]:
    if len(rows) > MAX_ROWS:
        raise BadArgument(f"one batch takes at most {MAX_ROWS} rows, not {len(rows)}")
    return [_checked_row(number, columns, row) for number, row in enumerate(rows, 1)]


def _checked_row(number: int, columns: tuple[str, ...], row: Sequence[Any]) -> tuple[SqlValue, ...]:
    try:
        values = checked_values(row)
        if len(values) != len(columns):
            raise BadArgument(f"{len(columns)} values expected, not {len(values)}")
        return tuple(map(_stored, columns, values))
    except BadArgument as error:
        raise BadArgument(f"row {number}: {error}") from None


def _stored(column: str, value: SqlValue) -> SqlValue:
    if column not in schema.TIME_COLUMNS:
        return value
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise BadArgument(f"{column} must be an ISO 8601 text or milliseconds since 1970")
    try:
        return parse(value)
    except ValueError as error:
        raise BadArgument(f"{column}: {error}") from None


def inserts(
    table: str, columns: tuple[str, ...], rows: Sequence[tuple[SqlValue, ...]], answer: str = ""
) -> list[Command]:
    """Statements of as many rows each as 100 bound values allow, ``answer`` at the end of each.

    An event whose ``event_id`` is there already counts once and is no error.
    """
    if len(rows) == 1:  # most are
        return [(_insert(table, columns, 1, answer), rows[0])]
    parts = in_parts(rows, MAX_BOUND_VALUES // len(columns))
    return [
        (_insert(table, columns, len(part), answer), tuple(chain.from_iterable(part)))
        for part in parts
    ]


@lru_cache(maxsize=100)
def _insert(table: str, columns: tuple[str, ...], rows: int, answer: str) -> str:
    """Ever the same object, whose hash SQLite's cache of statements need not work out again."""
    values = places(len(columns), rows)
    tail = " ON CONFLICT (event_id) DO NOTHING" if table == "user_journeys" else ""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}{tail}{answer}"
