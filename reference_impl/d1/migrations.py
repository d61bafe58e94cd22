"""From whatever database there is to the schema of today, in one transaction.

``schema_version`` holds the version, since D1 takes no PRAGMA that could. A database without it
is version 0: empty, or made by the text of the specification, or by edgekpi 0.1. Its tables are
rebuilt: times come into the one format, of rows with one ``event_id`` the first stays, and
``channel_performance`` is computed from the credits. Indexes and triggers of one's own on these
tables are lost with the rebuilt ones. Version 1 had no outbox, and version 2 another index of a
conversion's touches.

House rules of this file: statements and their order only. Each is a single statement and safe to
run by ``prepare`` alone, since D1's ``exec`` takes one line at a time.
"""

from __future__ import annotations

from reference_impl.d1 import schema
from reference_impl.d1.channels import RECOMPUTE
from reference_impl.ports import D1Database, D1Error

VERSION = 3
"""The version of :mod:`schema` as it stands."""

CREATE_VERSION = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)"

READ_VERSION = "SELECT coalesce(max(version), 0) AS version FROM schema_version"

READ_STATE = """SELECT coalesce(max(version), 0) AS version, EXISTS (SELECT 1 FROM sqlite_master
  WHERE type = 'table' AND name IN ('user_journeys', 'multi_touch_attribution',
  'channel_performance')) AS used FROM schema_version"""
"""The version, and whether there are tables at all."""


def statements(
    version: int, *, used: bool, drop_indexes: frozenset[str] = frozenset()
) -> list[str]:
    """What brings a database in this state to today's; for one of today only what is missing.

    Raises:
        ValueError: for a version from the future, or an index to drop that does not exist.
    """
    if version > VERSION:
        raise ValueError(f"the database has version {version}; this program knows {VERSION}")
    today = schema.statements(drop_indexes)
    if version == VERSION:
        return today
    stamp = f"INSERT INTO schema_version (version) VALUES ({VERSION})"
    if version == 0:
        return [*(_REBUILT if used else []), *today, stamp]
    return [*_CHANGES[version - 1 :], *today, stamp]


async def migrate(d1: D1Database) -> int:
    """Bring a D1 database to today's schema; the version it had. Safe to run again, and at once
    from several places: who comes second finds it done.

    Raises:
        D1Error: when a statement failed; then nothing has changed.
        ValueError: when the database is newer than this program.
    """
    await d1.prepare(CREATE_VERSION).run()
    version, used = await _state(d1)
    try:
        await d1.batch([d1.prepare(sql) for sql in statements(version, used=used)])
    except D1Error:
        if (await _state(d1))[0] != VERSION:
            raise
    return version


async def _state(d1: D1Database) -> tuple[int, bool]:
    row = await d1.prepare(READ_STATE).first()
    return int(row["version"]), bool(row["used"])


def _time(column: str) -> str:
    """``column`` in the one format: a number is milliseconds since 1970; what is no time stays."""
    form = "'%Y-%m-%dT%H:%M:%fZ'"
    return (
        f"coalesce(CASE WHEN {column} GLOB '????-??-??T??:??:??.???Z' THEN {column} "
        f"WHEN typeof({column}) = 'text' THEN strftime({form}, {column}) "
        f"ELSE strftime({form}, {column} / 1000.0, 'unixepoch') END, CAST({column} AS TEXT))"
    )


def _rebuild(table: str, taken: dict[str, str], where: str = "1") -> list[str]:
    """Statements that copy ``table`` into its form of today. ``taken`` says from which expression
    a column comes, if not from the one of its name."""
    (create,) = (text for text in schema.TABLES if f" {table} (" in text)
    columns = schema.COLUMNS[table]
    if table == "user_journeys":
        columns = ("id", *columns)
    values = ", ".join(taken.get(column, column) for column in columns)
    return [
        create,
        f"ALTER TABLE {table} RENAME TO {table}_v0",
        create,
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}_v0 WHERE {where}",
        f"DROP TABLE {table}_v0",
    ]


_FIRST_OF_EVENT = (
    "event_id IS NULL OR id IN "
    "(SELECT min(id) FROM user_journeys_v0 WHERE event_id IS NOT NULL GROUP BY event_id)"
)
_CREATED = f"coalesce({_time('created_at')}, {_time('event_timestamp')})"
_CREDITED = f"coalesce({_time('created_at')}, '1970-01-01T00:00:00.000Z')"

_REBUILT = [
    *_rebuild(
        "user_journeys",
        {"event_timestamp": _time("event_timestamp"), "created_at": _CREATED},
        _FIRST_OF_EVENT,
    ),
    *_rebuild("multi_touch_attribution", {"created_at": _CREDITED}),
    *_rebuild("channel_performance", {}, "0"),
    *(text for text in schema.TABLES if " conversion_values (" in text),
    RECOMPUTE,
]

_CHANGES = (schema.ADD_RESEND_AT, schema.DROP_CONVERSION_INDEX)
"""What versions 1, 2 and so on lack, beside what is created where it is missing."""
