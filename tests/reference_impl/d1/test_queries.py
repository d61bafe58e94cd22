"""The statements on a real SQLite: order, conflicts, transactions, plans, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reference_impl.attribution.models import MAX_TOUCHES, MODELS, Journey, Touch
from reference_impl.d1 import schema
from reference_impl.d1.event_store import Arrival
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.d1.statements import MAX_BOUND_VALUES
from reference_impl.events import parse_event
from reference_impl.messages import D1Call
from reference_impl.ports import D1Error
from tests.reference_impl.fakes import Edge, FakeContext

NOON = "2026-01-31T12:00:00.000Z"


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


async def insert(edge: Edge, queries: QueryOptimizer, **fields: Any) -> bool:
    """One event of conversion c1, unless told otherwise."""
    body = {
        "user_id": "u1",
        "event_name": "touch",
        "event_timestamp": NOON,
        "conversion_id": "c1",
        **fields,
    }
    arrival = Arrival(parse_event(body), NOON)
    (inserted,) = await queries.events.insert(edge.context(), [arrival])
    return inserted


async def sources(edge: Edge, queries: QueryOptimizer, conversion_id: str = "c1") -> list[Any]:
    journey = await queries.get_conversion_journey(edge.context(), conversion_id)
    return [touch.utm_source for touch in journey.touches]


# --------------------------------------------------------------------------- journeys


def test_d11_mixed_time_formats_come_in_the_order_of_time(
    edge: Edge, queries: QueryOptimizer
) -> None:
    """ISO with a zone, compact ISO and epoch milliseconds are one format once stored."""
    times: dict[str, str | int] = {
        "E": "2026-01-31T12:00:00.002Z",
        "A": 1_769_860_799_999,
        "D": "2026-01-31T13:00:00.001+01:00",
        "B": "20260131T120000Z",
    }

    async def work() -> list[str]:
        for source, time in times.items():
            await insert(edge, queries, utm_source=source, event_timestamp=time)
        return await sources(edge, queries)

    assert edge.run(work()) == ["A", "B", "D", "E"]
    stored = [row[0] for row in edge.rows("SELECT event_timestamp FROM user_journeys")]
    assert all(len(text) == len(NOON) for text in stored)


def test_d19_equal_times_come_by_position_then_as_they_arrived(
    edge: Edge, queries: QueryOptimizer
) -> None:
    """Touches of the same instant follow ``position``; without one, the order of arrival."""

    async def work() -> list[str]:
        for position in (2, 0, 1):
            await insert(edge, queries, utm_source=f"p{position}", position=position)
        for name in ("first", "second"):
            await insert(edge, queries, utm_source=name, position=7, utm_term=name)
        return await sources(edge, queries)

    assert edge.run(work()) == ["p0", "p1", "p2", "first", "second"]


def test_a03_a05_a_long_journey_comes_whole(edge: Edge, queries: QueryOptimizer) -> None:
    """150 touches are 150 rows, oldest first, and none of another conversion."""

    async def work() -> list[str]:
        for i in reversed(range(150)):
            await insert(edge, queries, utm_source=f"t{i}", event_timestamp=i)
        await insert(edge, queries, utm_source="other", conversion_id="c2")
        await insert(edge, queries, utm_source="visitor", conversion_id=None)
        return await sources(edge, queries)

    assert edge.run(work()) == [f"t{i}" for i in range(150)]


def test_d02_ids_are_taken_literally(edge: Edge, queries: QueryOptimizer) -> None:
    """Quotes, wildcards, NUL and a missing conversion match only themselves."""
    ids = ["a'b", "a%", "a_", "", "a\x00b", "None", "\U0001f600"]

    async def work() -> list[list[Any]]:
        for i, conversion_id in enumerate(ids):
            await insert(edge, queries, utm_source=str(i), conversion_id=conversion_id or None)
        return [await sources(edge, queries, each) for each in ids]

    assert edge.run(work()) == [[] if not each else [str(i)] for i, each in enumerate(ids)]


# --------------------------------------------------------------------------- events


def test_d13_an_event_counts_once(edge: Edge, queries: QueryOptimizer) -> None:
    """A known ``event_id`` changes nothing and says so; the first row stands."""

    async def work() -> list[bool]:
        return [
            await insert(edge, queries, event_id="e1", utm_source="first"),
            await insert(edge, queries, event_id="e1", utm_source="second"),
            await insert(edge, queries, event_id="e2"),
            await insert(edge, queries),
            await insert(edge, queries),
        ]

    assert edge.run(work()) == [True, False, True, True, False]
    assert edge.rows("SELECT utm_source FROM user_journeys WHERE event_id = ?", "e1") == [
        ("first",)
    ]


# --------------------------------------------------------------------------- attribution


def journey_of(length: int) -> Journey:
    return Journey([Touch(f"s{i}", NOON) for i in range(length)])


async def store(queries: QueryOptimizer, ctx: FakeContext, length: int) -> None:
    journey = journey_of(length)
    shares = {name: model(journey.touches) for name, model in MODELS.items()}
    await queries.store_attribution(ctx, "c1", journey, shares)


@pytest.mark.parametrize("length", [1, 14, 15, MAX_TOUCHES])
def test_d06_d08_d18_attribution_is_stored_in_one_round_trip(
    edge: Edge, queries: QueryOptimizer, length: int
) -> None:
    """n touches make n rows a model that sum to 100; no statement binds over 100 values, and all
    models of the longest journey take half of the 1,000 queries of an invocation."""
    edge.run(store(queries, edge.context(), length))
    sums = "SELECT count(*), round(sum(credit_percentage), 2) FROM multi_touch_attribution"
    assert edge.rows(f"{sums} GROUP BY attribution_model") == [(length, 100.0)] * len(MODELS)
    assert len(edge.d1.calls) == 1
    assert max(len(command.values) for command in edge.d1.calls[0]) <= MAX_BOUND_VALUES
    assert len(edge.d1.calls[0]) <= 510


def test_storing_again_replaces_what_was_stored(edge: Edge, queries: QueryOptimizer) -> None:
    """A shorter journey leaves no row of the longer one; another conversion's rows stay."""

    async def work() -> None:
        await store(queries, edge.context(), 20)
        shares = {"linear": MODELS["linear"](journey_of(2).touches)}
        await queries.store_attribution(edge.context(), "c2", journey_of(2), shares)
        await store(queries, edge.context(), 3)
        await store(queries, edge.context(), 0)

    edge.run(work())
    assert edge.rows("SELECT DISTINCT conversion_id FROM multi_touch_attribution") == [("c2",)]


def test_d05_storing_is_all_or_nothing(edge: Edge, queries: QueryOptimizer) -> None:
    """When a later statement fails, neither the deletion nor the rows before it took effect."""
    edge.run(store(queries, edge.context(), 3))
    before = edge.rows("SELECT * FROM multi_touch_attribution")
    edge.rows(
        "CREATE TRIGGER stop BEFORE INSERT ON multi_touch_attribution WHEN NEW.touchpoint_index"
        " = 17 BEGIN SELECT RAISE(ABORT, 'stopped'); END"
    )
    ctx = edge.context()

    async def work() -> None:
        with pytest.raises(D1Error, match=r"D1_ERROR: .*stopped"):
            await store(queries, ctx, 30)

    edge.run(work())
    assert edge.rows("SELECT * FROM multi_touch_attribution") == before
    assert [call.failed for call in ctx.evidence.d1] == [True]


# --------------------------------------------------------------------------- evidence and plans


def test_e01_e20_every_call_leaves_its_cost(edge: Edge, queries: QueryOptimizer) -> None:
    """Name, total time and what the database said of it; a failed call its time as well."""
    ctx = edge.context()

    async def work() -> None:
        await queries.get_conversion_journey(ctx, "c1")
        await store(queries, ctx, 1)
        edge.d1.fail = D1Error("D1_ERROR: overloaded")
        with pytest.raises(D1Error):
            await queries.get_conversion_journey(ctx, "c1")

    edge.run(work())
    assert ctx.evidence.d1 == [
        D1Call("get_conversion_journey", 20_000, 250, 7),
        D1Call("store_attribution", 20_000, 1000, 7),
        D1Call("get_conversion_journey", 10_000, failed=True),
    ]


def plans(edge: Edge, calls: Sequence[Any]) -> list[str]:
    """How SQLite would run the statements that were asked for."""
    return [
        " / ".join(str(row[3]) for row in edge.rows(f"EXPLAIN QUERY PLAN {sql}", *values))
        for commands in calls
        for sql, values in commands
    ]


def test_d10_the_statements_use_the_indexes(edge: Edge, queries: QueryOptimizer) -> None:
    """A journey is an index search, so are the old credits and their deletion; nothing of the
    journeys or credits is scanned."""

    async def work() -> None:
        await queries.get_conversion_journey(edge.context(), "c1")
        await store(queries, edge.context(), 1)

    edge.run(work())
    journey, taken_off, forget, _, added = plans(edge, list(edge.d1.calls))
    assert journey.startswith("SEARCH user_journeys USING INDEX idx_user_journeys_conversion")
    assert "SEARCH multi_touch_attribution USING" in forget
    assert "SEARCH credits USING" in taken_off
    assert "SEARCH worth USING INDEX" in taken_off
    assert taken_off == added
    assert "SCAN" not in journey + forget + taken_off


def test_d10_without_its_index_a_journey_is_a_scan(queries: QueryOptimizer, edge: Edge) -> None:
    """What ``d1.drop_indexes`` of a scenario is for."""
    edge.d1.engine.migrate(frozenset({"idx_user_journeys_conversion"}))
    edge.run(sources(edge, queries))
    assert "SCAN user_journeys" in plans(edge, list(edge.d1.calls))[0]


def test_schema_names_what_it_does_not_know() -> None:
    """An index to drop that does not exist is an error with its name; the rest are created."""
    with pytest.raises(ValueError, match="no such index: idx_a, idx_b"):
        schema.statements(frozenset({"idx_b", "idx_a", "idx_attribution_source"}))
    name = "idx_attribution_source"
    assert not any(name in statement for statement in schema.statements(frozenset({name})))
