"""Many rows in one round trip: all or none, counted once, names and times checked."""

from __future__ import annotations

from typing import Any

import pytest

from reference_impl.d1.arguments import BadArgument
from reference_impl.d1.bulk import MAX_ROWS
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.ports import D1Error
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import NOON

TOUCH = ["user_id", "event_id", "event_name", "event_timestamp"]


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


def test_d05_a_bad_row_undoes_all(edge: Edge, queries: QueryOptimizer) -> None:
    """The last of 100 rows misses its name: none is stored."""
    rows: list[Any] = [("u", f"e{i}", "touch", NOON) for i in range(99)]

    async def work() -> None:
        bad = [*rows, ("u", "e", None, NOON)]
        with pytest.raises(D1Error, match="NOT NULL"):
            await queries.batch_insert(edge.context(), "user_journeys", TOUCH, bad)

    edge.run(work())
    assert edge.rows("SELECT count(*) FROM user_journeys") == [(0,)]


@pytest.mark.parametrize("count", [0, 1, 20, 21, 1000])
def test_d06_d18_many_rows_are_one_round_trip(
    edge: Edge, queries: QueryOptimizer, count: int
) -> None:
    """In as few statements as 100 bound values allow; it says how many rows are new."""
    rows = [("u", f"e{i}", "touch", NOON) for i in range(count)]
    work = queries.batch_insert(edge.context(), "user_journeys", TOUCH, rows)
    assert edge.run(work) == count
    assert edge.rows("SELECT count(*) FROM user_journeys") == [(count,)]
    assert len(edge.d1.calls) == (count > 0)
    for commands in edge.d1.calls:
        assert len(commands) == -(-count // 20)
        assert max(len(command.values) for command in commands) <= 100


def test_d13_rows_delivered_twice_count_once(edge: Edge, queries: QueryOptimizer) -> None:
    """Twice in one batch and again in the next; the first stands."""

    async def work() -> list[int]:
        return [
            await queries.batch_insert(
                edge.context(), "user_journeys", TOUCH, [("u", each, name, NOON) for each in ids]
            )
            for name, ids in [("first", ["e1", "e2", "e1"]), ("second", ["e2", "e3"])]
        ]

    assert edge.run(work()) == [2, 1]
    stored = edge.rows("SELECT event_id, event_name FROM user_journeys ORDER BY event_id")
    assert stored == [("e1", "first"), ("e2", "first"), ("e3", "second")]


def test_d11_d20_inserted_times_have_one_format(edge: Edge, queries: QueryOptimizer) -> None:
    """Whatever form they came in; ``created_at`` is added from the runtime's clock."""
    times = ["2026-01-31T13:00:00+01:00", 1_769_860_800_000, "2026-01-31T12:00:00Z"]
    rows = [("u", f"e{i}", "touch", time) for i, time in enumerate(times)]
    edge.run(queries.batch_insert(edge.context(), "user_journeys", TOUCH, rows))
    assert edge.rows("SELECT DISTINCT event_timestamp, created_at FROM user_journeys") == [
        (NOON, "2026-01-01T00:00:00.000Z")
    ]


@pytest.mark.parametrize(
    ("table", "columns", "rows", "said"),
    [
        ("users; DROP TABLE user_journeys", ["id"], [], "unknown table"),
        ("sqlite_master", ["name"], [], "unknown table"),
        ("channel_performance", ["utm_source"], [], "summed from the stored credits"),
        ("user_journeys", ["user_id, event_id"], [], "unknown column"),
        ("user_journeys", ["id"], [], "unknown column"),
        ("user_journeys", ["order"], [], "unknown column"),
        ("user_journeys", [], [], "different names"),
        ("user_journeys", ["user_id", "user_id"], [], "different names"),
        ("user_journeys", "user_id", [], "different names"),
        ("user_journeys", TOUCH, [("u", "e", "n")], "row 1: 4 values expected, not 3"),
        ("user_journeys", TOUCH, [("u", "e", "n", NOON), ("u", "e", "n", 1.5)], "row 2: .*ISO"),
        ("user_journeys", TOUCH, [("u", "e", "n", "2026-01-31")], "row 1: .*zone"),
        ("user_journeys", TOUCH, [("u", "e", "n", "soon")], "row 1: event_timestamp"),
        ("user_journeys", TOUCH, [("u", "e", {}, NOON)], "row 1: value 3 must be text"),
        ("user_journeys", TOUCH, ["text"], "row 1: params"),
        ("user_journeys", ["user_id"], [("u",)] * (MAX_ROWS + 1), "at most 10000 rows"),
    ],
)
def test_d16_d18_only_what_the_schema_has_is_inserted(
    edge: Edge, queries: QueryOptimizer, table: str, columns: Any, rows: Any, said: str
) -> None:
    """Names that are none of the schema's, and rows that do not fit, never reach the database."""

    async def work() -> None:
        with pytest.raises(BadArgument, match=said):
            await queries.batch_insert(edge.context(), table, columns, rows)

    edge.run(work())
    assert edge.d1.calls == []
