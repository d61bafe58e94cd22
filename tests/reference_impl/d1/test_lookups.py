"""The look-ups of the specification on a real SQLite: rows, order, pages, cache, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.adapters.sqlite import Command
from reference_impl.attribution.models import MODELS
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.d1.schema import JOURNEY_COLUMNS
from reference_impl.ports import D1Error
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import NOON, touch, walk


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


async def store(edge: Edge, queries: QueryOptimizer, conversion_id: str) -> None:
    """Credit a conversion by all models."""
    journey = await queries.get_conversion_journey(edge.context(), conversion_id)
    shares = {name: model(journey.touches) for name, model in MODELS.items()}
    await queries.store_attribution(edge.context(), conversion_id, journey, shares)


# --------------------------------------------------------------------------- journeys


def test_d01_look_ups_answer_with_rows(edge: Edge, queries: QueryOptimizer) -> None:
    """Lists of rows by column name, empty where there is nothing."""

    async def work() -> list[Any]:
        ctx = edge.context()
        before = [
            await queries.execute(ctx, "SELECT 1 AS one WHERE 0"),
            await queries.get_user_journey(ctx, "u1"),
            await queries.get_attribution_data(ctx, "c1", "linear"),
            await queries.get_channel_performance(ctx, "linear"),
        ]
        await touch(edge, queries, "google", event_id="e1")
        await store(edge, queries, "c1")
        (row,) = await queries.get_user_journey(ctx, "u1")
        assert list(row) == ["id", *JOURNEY_COLUMNS]
        (credit,) = await queries.get_attribution_data(ctx, "c1", "linear")
        (channel,) = await queries.get_channel_performance(ctx, "linear")
        return [before, row["event_id"], credit["credit_percentage"], channel["utm_source"]]

    assert edge.run(work()) == [[[], [], [], []], "e1", 100.0, "google"]


moments = st.tuples(st.integers(0, 3), st.none() | st.integers(0, 2), st.sampled_from(["c1", None]))


@given(st.lists(moments, max_size=25), st.integers(1, 7))
@settings(max_examples=40)
def test_a04_a05_d19_pages_of_a_journey_are_the_journey(
    touches: list[tuple[int, int | None, str | None]], size: int
) -> None:
    """Any times, equal ones too, any page size: oldest first, then by position (none first), then
    as they came; no touch twice and none left out."""
    edge = Edge()
    queries = QueryOptimizer(edge.runtime)

    async def pages(conversion_id: str | None) -> list[str]:
        names: list[str] = []
        after = None
        while True:
            page = await queries.journey_page(edge.context(), "u1", conversion_id, after, size)
            assert len(page.rows) <= size
            names += [row["utm_source"] for row in page.rows]
            if (after := page.after) is None:
                return names

    async def work() -> list[list[str]]:
        for number, (time, position, conversion_id) in enumerate(touches):
            await touch(
                edge, queries, str(number), position=position,
                event_timestamp=time, conversion_id=conversion_id, event_id=str(number),
            )  # fmt: skip
        await touch(edge, queries, "another's", user_id="u2")
        whole = await queries.get_user_journey(edge.context(), "u1")
        return [await pages(None), await pages("c1"), [row["utm_source"] for row in whole]]

    def order(number: int) -> tuple[int, int, int]:
        time, position, _ = touches[number]
        return time, -1 if position is None else position, number

    expected = [str(number) for number in sorted(range(len(touches)), key=order)]
    converted = [name for name in expected if touches[int(name)][2] == "c1"]
    assert edge.run(work()) == [expected, converted, expected]


def test_a05_a_long_journey_comes_whole(edge: Edge, queries: QueryOptimizer) -> None:
    """1,201 touches of one instant are 1,201 rows in three pages, and one answer."""
    rows = [("u1", f"e{i}", "touch", NOON, i) for i in range(1201)]
    columns = ["user_id", "event_id", "event_name", "event_timestamp", "position"]

    async def work() -> list[int]:
        await queries.batch_insert(edge.context(), "user_journeys", columns, rows)
        edge.d1.calls.clear()
        return [row["position"] for row in await queries.get_user_journey(edge.context(), "u1")]

    assert edge.run(work()) == list(range(1201))
    assert len(edge.d1.calls) == 3


def test_d02_colons_in_ids_do_not_lead_to_another_user(edge: Edge, queries: QueryOptimizer) -> None:
    """Users and conversions whose joined names are the same, ``all`` among them."""

    async def work() -> list[list[str]]:
        await touch(edge, queries, "a", user_id="a", conversion_id="b:c")
        await touch(edge, queries, "a:b", user_id="a:b", conversion_id="c")
        await touch(edge, queries, "other", user_id="a", conversion_id="all")
        ctx = edge.context()
        asked = [("a", "b:c"), ("a:b", "c"), ("a", "all"), ("a", None)]
        found = [await queries.get_user_journey(ctx, *each) for each in asked * 2]
        return [[row["utm_source"] for row in rows] for rows in found]

    assert edge.run(work()) == [["a"], ["a:b"], ["other"], ["a", "other"]] * 2
    assert len(edge.d1.calls) == 3 + 4


# --------------------------------------------------------------------------- attribution


def test_d08_attribution_data_has_one_row_a_touch(edge: Edge, queries: QueryOptimizer) -> None:
    """Three touches are three rows that sum to 100, each with its own medium and time."""

    async def work() -> list[dict[str, Any]]:
        for i, time in enumerate([5, 3, 3]):
            await touch(
                edge, queries, "s", event_timestamp=time, position=2 - i, utm_medium=f"m{i}"
            )
        await touch(edge, queries, "s", conversion_id="c2")
        await store(edge, queries, "c1")
        return await queries.get_attribution_data(edge.context(), "c1", "linear")

    rows = edge.run(work())
    assert [row["utm_medium"] for row in rows] == ["m2", "m1", "m0"]
    assert [row["event_timestamp"][-4:] for row in rows] == ["003Z", "003Z", "005Z"]
    assert [row["touchpoint_index"] for row in rows] == [0, 1, 2]
    assert sum(row["credit_percentage"] for row in rows) == pytest.approx(100)


def test_d08_a_touch_that_came_since_adds_no_row(edge: Edge, queries: QueryOptimizer) -> None:
    """The credits stand; of a touch that another has pushed from its place nothing is said."""

    async def work() -> list[dict[str, Any]]:
        await touch(edge, queries, "b", event_timestamp=2, utm_medium="mb")
        await store(edge, queries, "c1")
        await touch(edge, queries, "a", event_timestamp=1, utm_medium="ma")
        return await queries.get_attribution_data(edge.context(), "c1", "linear")

    (row,) = edge.run(work())
    assert (row["utm_source"], row["credit_percentage"]) == ("b", 100.0)
    assert row["utm_medium"] is None


def test_channels_come_by_credit_then_by_name(edge: Edge, queries: QueryOptimizer) -> None:
    """At most as many as asked for, and none without credit."""

    async def work() -> list[list[str]]:
        await walk(edge, queries, "c1", "b", "c", "a", "c")
        await store(edge, queries, "c1")
        ctx = edge.context()
        found = [
            await queries.get_channel_performance(ctx, "linear"),
            await queries.get_channel_performance(ctx, "linear", 2),
            await queries.get_channel_performance(ctx, "first_click"),
        ]
        return [[row["utm_source"] for row in rows] for rows in found]

    assert edge.run(work()) == [["c", "a", "b"], ["c", "a"], ["b"]]


# --------------------------------------------------------------------------- the query cache


def test_d04_an_own_write_is_seen_at_once(edge: Edge, queries: QueryOptimizer) -> None:
    """A journey, its attribution data and its channels, each cached before the write."""

    async def seen() -> list[int]:
        ctx = edge.context()
        channels = await queries.get_channel_performance(ctx, "linear")
        return [
            len(await queries.get_user_journey(ctx, "u1")),
            len(await queries.get_user_journey(ctx, "u1", "c1")),
            len(await queries.get_attribution_data(ctx, "c1", "linear")),
            sum(row["total_conversions"] for row in channels),
        ]

    async def work() -> list[list[int]]:
        found = [await seen(), await seen()]
        for write in (
            touch(edge, queries, "a", event_timestamp=1),
            store(edge, queries, "c1"),
            touch(edge, queries, "b", event_timestamp=2),
            store(edge, queries, "c1"),
        ):
            await write
            found.append(await seen())
        calls = len(edge.d1.calls)
        assert await seen() == found[-1]
        assert len(edge.d1.calls) == calls
        return found

    assert edge.run(work()) == [
        [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [2, 2, 1, 1], [2, 2, 2, 2],
    ]  # fmt: skip


def test_d12_d17_one_name_and_other_values(edge: Edge, queries: QueryOptimizer) -> None:
    """Each has its own answer, at first and from the cache; who edits it edits no other's."""

    async def work() -> list[Any]:
        found = []
        for value in (1, 2, 1, 2):
            rows = await queries.execute(edge.context(), "SELECT ? AS v", [value], ["same"])
            found.append(rows[0]["v"])
            rows[0]["v"] = "edited"
            rows.clear()
        return found

    assert edge.run(work()) == [1, 2, 1, 2]
    assert len(edge.d1.calls) == 2


def test_d04_a_write_during_a_read_is_seen_by_the_next(edge: Edge, queries: QueryOptimizer) -> None:
    """The read left before the write and comes back after it: its answer is not kept."""
    ctx = edge.context()

    async def work() -> list[int]:
        edge.d1.delay_us = 50_000
        reading = edge.runtime.spawn(queries.get_user_journey(ctx, "u1"))
        await edge.runtime.sleep(60_000)
        edge.d1.delay_us = 1_000
        await touch(edge, queries, "a")
        return [len(await reading), len(await queries.get_user_journey(ctx, "u1"))]

    assert edge.run(work()) == [0, 1]


def test_d04_any_statement_that_writes_is_seen(edge: Edge, queries: QueryOptimizer) -> None:
    """A DELETE by ``execute``, one that failed too; a write to another table leaves the answer."""
    count = "SELECT count(*) AS n FROM user_journeys"

    async def work() -> list[int]:
        ctx = edge.context()
        await touch(edge, queries, "a")
        found = [await queries.execute(ctx, count, cache_parts=["count"])]
        edge.rows("DELETE FROM user_journeys")
        found.append(await queries.execute(ctx, count, cache_parts=["count"]))
        await queries.execute(ctx, "DELETE FROM channel_performance")
        found.append(await queries.execute(ctx, count, cache_parts=["count"]))
        with pytest.raises(D1Error):
            await queries.execute(ctx, "DELETE FROM user_journeys WHERE nothing = ?", [1])
        found.append(await queries.execute(ctx, count, cache_parts=["count"]))
        return [rows[0]["n"] for rows in found]

    assert edge.run(work()) == [1, 1, 1, 0]


def test_d15_an_error_is_not_kept(edge: Edge, queries: QueryOptimizer) -> None:
    """It reaches who asked, with its cost as evidence, and nothing of it stays in memory; the next
    one is answered."""
    ctx = edge.context()

    async def work() -> list[Any]:
        edge.d1.fail = D1Error("D1_ERROR: D1 DB is overloaded.")
        with pytest.raises(D1Error, match="overloaded"):
            await queries.get_user_journey(ctx, "u1")
        assert queries.cache._readers == {}
        edge.d1.fail = None
        return await queries.get_user_journey(ctx, "u1")

    assert edge.run(work()) == []
    assert [call.failed for call in ctx.evidence.d1] == [True, False]


def test_fresh_look_ups_pass_the_cache_by(edge: Edge, queries: QueryOptimizer) -> None:
    """For whoever has a cache of its own in front: read every time, and nothing kept."""

    async def work() -> None:
        for _ in range(2):
            await queries.get_user_journey(edge.context(), "u1", fresh=True)
            await queries.get_attribution_data(edge.context(), "c1", "linear", fresh=True)
            await queries.get_channel_performance(edge.context(), "linear", fresh=True)
            await queries.get_conversion_journey(edge.context(), "c1")

    edge.run(work())
    assert (len(edge.d1.calls), len(queries.cache)) == (8, 0)


def test_d07_answers_are_dropped_by_name(edge: Edge, queries: QueryOptimizer) -> None:
    """One user's, one kind's, or all; the names are those of the specification."""

    async def ask() -> None:
        ctx = edge.context()
        for user in ("u1", "u(1"):
            await queries.get_user_journey(ctx, user)
        await queries.get_attribution_data(ctx, "c1", "linear")
        await queries.get_channel_performance(ctx, "linear", 7)

    async def work() -> list[int]:
        dropped = []
        patterns = ["journey:u(1:all", "journey:*", "attribution:c1:linear", "performance:*:7", "*"]
        for pattern in patterns:
            await ask()
            dropped.append(queries.invalidate_cache(pattern))
        return dropped

    assert edge.run(work()) == [1, 2, 1, 1, 4]


# --------------------------------------------------------------------------- log and plans


def test_e13_slow_queries_are_logged_and_bounded(edge: Edge, queries: QueryOptimizer) -> None:
    """Above 100 ms, not at it; failed ones too; the newest 100 are kept and all are counted."""

    async def work() -> None:
        ctx = edge.context()
        edge.d1.delay_us = 50_000
        await queries.execute(ctx, "SELECT 1")
        edge.d1.delay_us = 50_001
        for i in range(100):
            await queries.execute(ctx, f"SELECT {i}" + " " * 300)
        edge.d1.fail = D1Error("D1_ERROR: overloaded")
        edge.d1.delay_us = 200_000
        with pytest.raises(D1Error):
            await queries.get_conversion_journey(ctx, "secret")

    edge.run(work())
    assert (queries.slow.count, queries.slow.by_name["execute"]) == (101, 100)
    newest, *rest = queries.slow.latest()
    assert (newest.name, newest.total_us, newest.failed) == (
        "get_conversion_journey",
        200_000,
        True,
    )
    assert "secret" not in repr(newest)
    assert len(rest) == 99
    assert rest[0].sql.startswith("SELECT 99 ")
    assert len(rest[0].sql) == 200


def plan(edge: Edge, command: Command) -> list[str]:
    rows = edge.rows(f"EXPLAIN QUERY PLAN {command.sql}", *command.values)  # type: ignore[arg-type]
    return [str(row[3]) for row in rows]


def test_d10_the_look_ups_use_the_indexes(edge: Edge, queries: QueryOptimizer) -> None:
    """Searches of the seed's indexes. The user's and the channels' order is read from the index;
    only what is equal there is sorted, since no index of the seed holds the tie-breaks."""

    async def work() -> None:
        ctx = edge.context()
        page = await queries.journey_page(ctx, "u1")
        assert page.after is None
        await queries.journey_page(ctx, "u1", None, (NOON, -1, 7))  # type: ignore[arg-type]
        await queries.get_attribution_data(ctx, "c1", "linear")
        await queries.get_channel_performance(ctx, "linear")
        await queries.get_conversion_journeys(ctx, ["c1", "c2"])

    edge.run(work())
    first, later, data, channels, journeys = (plan(edge, *call) for call in list(edge.d1.calls))
    user = "SEARCH user_journeys USING INDEX idx_user_journeys_user_timestamp (user_id=?"
    tie_break = "USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY"
    assert first == [f"{user})", tie_break]
    assert later == [f"{user} AND event_timestamp>?)", tie_break]
    assert channels == [
        "SEARCH channel_performance USING INDEX idx_channel_performance_model"
        " (attribution_model=?)",
        "USE TEMP B-TREE FOR LAST TERM OF ORDER BY",
    ]
    assert any("SEARCH a USING INDEX" in step for step in data)
    assert any("SEARCH t USING AUTOMATIC" in step and "place=?" in step for step in data)
    searched = "SEARCH user_journeys USING COVERING INDEX idx_user_journeys_conversion"
    assert any(searched in step for step in journeys)
    assert "SEARCH touches USING INTEGER PRIMARY KEY (rowid=?)" in journeys
