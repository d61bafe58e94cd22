"""Databases of the past come to today's schema: the seed's own text, and edgekpi 0.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.d1 import schema
from reference_impl.d1.migrations import VERSION, migrate
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.ports import D1Error
from tests.reference_impl.fakes import Edge

SEED = """
CREATE TABLE IF NOT EXISTS user_journeys (id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id TEXT NOT NULL, event_id TEXT, event_name TEXT NOT NULL, utm_source TEXT, utm_medium TEXT,
  utm_campaign TEXT, utm_term TEXT, utm_content TEXT, event_timestamp DATETIME NOT NULL,
  position INTEGER, conversion_id TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX IF NOT EXISTS idx_user_journeys_user_timestamp
  ON user_journeys(user_id, event_timestamp DESC);
CREATE TABLE IF NOT EXISTS multi_touch_attribution (conversion_id TEXT NOT NULL,
  attribution_model TEXT NOT NULL, touchpoint_index INTEGER NOT NULL, utm_source TEXT,
  credit_percentage REAL NOT NULL, role TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (conversion_id, attribution_model, touchpoint_index));
CREATE INDEX IF NOT EXISTS idx_attribution_source
  ON multi_touch_attribution(utm_source, attribution_model)
"""
"""The start of the seed's block, as it is left when one of its later statements has failed."""

OLD_TOUCHES: list[tuple[Any, ...]] = [
    (7, "e1", "A", 1_769_860_799_999, "2026-02-01 00:00:00"),
    (8, "e1", "again", 1, None),
    (9, "e2", "C", "2026-01-31 12:00:00", "2026-02-01 00:00:00"),
    (10, None, "D", "2026-01-31T13:00:00.001+01:00", None),
    (11, None, "E", "2026-01-31T12:00:00.002Z", "2026-02-01T00:00:00.000Z"),
]


def run(engine: SqliteEngine, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    (execution,) = engine.execute([Command(sql, values)])
    return execution.rows


def shape(engine: SqliteEngine) -> list[tuple[Any, ...]]:
    """All tables and indexes with their text."""
    return run(engine, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name")


@pytest.fixture
def old() -> Iterator[SqliteEngine]:
    """A database that the seed's code could have made."""
    engine = SqliteEngine()
    for statement in SEED.strip().split(";\n"):
        run(engine, statement)
    for row in OLD_TOUCHES:
        run(
            engine,
            "INSERT INTO user_journeys (id, event_id, utm_source, event_timestamp, created_at,"
            " user_id, event_name, conversion_id) VALUES (?, ?, ?, ?, ?, 'u1', 'touch', 'c1')",
            *row,
        )
    for index, (source, percent) in enumerate([("a", 60.0), (None, 40.0)]):
        run(
            engine,
            "INSERT INTO multi_touch_attribution (conversion_id, attribution_model,"
            " touchpoint_index, utm_source, credit_percentage, created_at)"
            " VALUES ('c1', 'linear', ?, ?, ?, '2026-02-01 00:00:00')",
            *(index, source, percent),
        )
    yield engine
    engine.close()


def test_d14_the_schema_is_made_one_statement_at_a_time() -> None:
    """Each runs by itself; the result is the same at once, later, and through D1."""
    engine = SqliteEngine()
    for statement in schema.statements():
        run(engine, statement)
    tables = {name for kind, name, _ in shape(engine) if kind == "table"}
    assert tables >= set(schema.COLUMNS)
    migrated = SqliteEngine()
    for _ in range(2):
        migrated.migrate()
    assert [row for row in shape(migrated) if row[1] != "schema_version"] == shape(engine)
    edge = Edge()
    for table in (*schema.COLUMNS, "schema_version"):
        edge.rows(f"DROP TABLE {table}")
    assert edge.run(migrate(edge.context().d1)) == 0
    assert edge.run(migrate(edge.context().d1)) == VERSION
    assert shape(edge.d1.engine) == shape(migrated)
    assert max(len(calls) for calls in edge.d1.calls) > 1


def test_d11_d13_d20_a_database_of_the_seed_is_brought_up(old: SqliteEngine) -> None:
    """Times in one format and in order, an event once, the first of it; the schema as if new."""
    old.migrate()
    fresh = SqliteEngine()
    fresh.migrate()
    assert shape(old) == shape(fresh)
    found = run(
        old,
        "SELECT id, utm_source, event_timestamp, created_at FROM user_journeys"
        " ORDER BY event_timestamp",
    )
    assert found == [
        (7, "A", "2026-01-31T11:59:59.999Z", "2026-02-01T00:00:00.000Z"),
        (9, "C", "2026-01-31T12:00:00.000Z", "2026-02-01T00:00:00.000Z"),
        (10, "D", "2026-01-31T12:00:00.001Z", "2026-01-31T12:00:00.001Z"),
        (11, "E", "2026-01-31T12:00:00.002Z", "2026-02-01T00:00:00.000Z"),
    ]
    columns = "utm_source, total_attribution, total_conversions, last_updated"
    assert run(old, f"SELECT {columns} FROM channel_performance ORDER BY 1") == [
        ("a", 60.0, 1, "2026-02-01T00:00:00.000Z"),
        ("direct", 40.0, 1, "2026-02-01T00:00:00.000Z"),
    ]


def test_new_rows_follow_the_old_ones(old: SqliteEngine) -> None:
    """Row IDs go on after the highest there ever was, and a known event is refused."""
    old.migrate()
    insert = (
        "INSERT INTO user_journeys (user_id, event_id, event_name, event_timestamp, created_at)"
        " VALUES ('u', ?, 'touch', 't', 't')"
    )
    run(old, insert, "e3")
    assert run(old, "SELECT max(id) FROM user_journeys") == [(12,)]
    with pytest.raises(D1Error, match="UNIQUE"):
        run(old, insert, "e1")


def test_a_database_of_0_1_keeps_its_rows() -> None:
    """The same tables without a version: nothing is lost but what was twice."""
    engine = SqliteEngine()
    for statement in schema.statements():
        if "conversion_values" not in statement:
            run(engine, statement)
    rows = [
        (f"u{i}", f"e{i}", "touch", "s", *[None] * 4, f"2026-01-31T12:00:00.{i:03d}Z", i, "c", "t")
        for i in range(1000)
    ]
    engine.insert_journeys(rows)
    before = run(engine, "SELECT * FROM user_journeys ORDER BY id")
    engine.migrate()
    assert run(engine, "SELECT * FROM user_journeys ORDER BY id") == before
    engine.migrate(frozenset({"idx_attribution_source"}))
    assert run(engine, "SELECT count(*) FROM user_journeys") == [(1000,)]


def test_a_migration_is_all_or_nothing(old: SqliteEngine) -> None:
    """One that cannot be finished leaves the database as it was, and can be tried again."""
    edge = Edge()
    edge.d1.engine = old
    run(old, "CREATE TABLE user_journeys_v0 (in_the_way)")
    before = shape(old)

    async def work() -> None:
        with pytest.raises(D1Error, match="user_journeys_v0"):
            await migrate(edge.context().d1)

    edge.run(work())
    assert [row for row in shape(old) if row[1] != "schema_version"] == before
    run(old, "DROP TABLE user_journeys_v0")
    assert edge.run(migrate(edge.context().d1)) == 0
    assert run(old, "SELECT count(*) FROM user_journeys") == [(4,)]


def test_two_places_migrate_at_once(old: SqliteEngine) -> None:
    """Both read the old version; who comes second finds the work done."""
    edge = Edge()
    edge.d1.engine = old

    async def work() -> list[int]:
        return await edge.runtime.gather(migrate(edge.context().d1) for _ in range(2))

    assert edge.run(work()) == [0, 0]
    assert run(old, "SELECT version FROM schema_version") == [(VERSION,)]
    assert run(old, "SELECT count(*) FROM user_journeys") == [(4,)]
    queries = QueryOptimizer(edge.runtime)
    journey = edge.run(queries.get_conversion_journey(edge.context(), "c1"))
    assert [touch.utm_source for touch in journey.touches] == ["A", "C", "D", "E"]


def test_a_newer_database_is_left_alone() -> None:
    """A program that does not know a version changes nothing and says so."""
    edge = Edge()
    edge.rows("INSERT INTO schema_version (version) VALUES (99)")

    async def work() -> None:
        with pytest.raises(ValueError, match="version 99"):
            await migrate(edge.context().d1)

    edge.run(work())
    with pytest.raises(ValueError, match="version 99"):
        edge.d1.engine.migrate()


INDEX_OF_2 = "CREATE INDEX idx_user_journeys_conversion ON user_journeys(conversion_id, position)"


def is_as_of(engine: SqliteEngine, version: int) -> None:
    """Take back what versions have brought since."""
    run(engine, "DROP INDEX idx_user_journeys_conversion")
    run(engine, INDEX_OF_2)
    if version == 1:
        run(engine, "DROP INDEX ix_user_journeys_resend")
        run(engine, "ALTER TABLE user_journeys DROP COLUMN resend_at")
    run(engine, "DELETE FROM schema_version")
    run(engine, f"INSERT INTO schema_version (version) VALUES ({version})")


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_versions_are_brought_up_and_keep_their_rows(version: int) -> None:
    """Version 1 has no outbox, and its events wait for nothing; both have another index.
    Afterwards the shape is that of a new database."""
    engine = SqliteEngine()
    engine.migrate()
    today = shape(engine)
    is_as_of(engine, version)
    run(
        engine,
        "INSERT INTO user_journeys (user_id, event_name, event_timestamp, created_at) "
        "VALUES ('u1', 'touch', '2026', '2026')",
    )
    engine.migrate()
    assert run(engine, "SELECT user_id, resend_at FROM user_journeys") == [("u1", None)]
    assert [row[:2] for row in shape(engine)] == [row[:2] for row in today]
    assert [row for row in shape(engine) if row[0] == "index"] == [
        row for row in today if row[0] == "index"
    ]
    engine.migrate()
