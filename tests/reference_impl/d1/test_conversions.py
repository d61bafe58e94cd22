"""Journeys at their bound: which touches count, and that D1 reads no others."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.adapters.sqlite import Command
from reference_impl.attribution.models import MAX_TOUCHES, Credit, Journey
from reference_impl.d1 import history
from reference_impl.d1.conversions import ATTRIBUTION_DATA, JOURNEY, journeys_statement
from reference_impl.d1.queries import QueryOptimizer
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import NOON, flood, walk

STATEMENTS: dict[str, Command] = {
    "a journey": Command(JOURNEY, ("c1",)),
    "journeys": Command(*journeys_statement(["c1", "c2", "c3"])),
    "attribution data": Command(ATTRIBUTION_DATA, ("c1", "c1", "linear")),
    "converting paths": Command(history.CONVERTING, ("", 10)),
    "null paths": Command(history.NULL, ("", 10)),
}


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


Place = tuple[int, int | None]


def scatter(draw: random.Random, count: int) -> list[Place]:
    """Times and positions of which many are equal."""
    return [(draw.randrange(4), draw.choice([None, 0, 1, 2])) for _ in range(count)]


def dull(places: list[Place]) -> list[str]:
    """All touches in order, by sorting them."""

    def order(number: int) -> tuple[int, int, int]:
        time, position = places[number]
        return time, -1 if position is None else position, number

    return [f"s{number}" for number in sorted(range(len(places)), key=order)]


counts = st.sampled_from([MAX_TOUCHES - 1, MAX_TOUCHES, MAX_TOUCHES + 1, MAX_TOUCHES + 300])


@given(st.integers(0, 10_000), counts, counts)
@settings(max_examples=12, deadline=None)
def test_the_latest_touches_count(seed: int, one: int, two: int) -> None:
    """Of any two journeys, however many touches are of one instant: the end of the whole, in its
    order, alone and together; and whether anything is missing."""
    edge, draw = Edge(), random.Random(seed)
    queries = QueryOptimizer(edge.runtime)
    places = {"c1": scatter(draw, one), "c2": scatter(draw, two), "nobody": []}
    edge.d1.engine.insert_journeys(
        (
            *("u1", f"{name}-{number}", "touch", f"s{number}", *[None] * 4),
            *(f"2026-01-31T12:00:00.00{time}Z", position, name, NOON),
        )
        for name, touches in places.items()
        for number, (time, position) in enumerate(touches)
    )

    async def work() -> list[dict[str, Journey]]:
        ctx = edge.context()
        alone = {name: await queries.get_conversion_journey(ctx, name) for name in places}
        return [alone, await queries.get_conversion_journeys(ctx, list(places))]

    for journeys in edge.run(work()):
        for name, touches in places.items():
            found = [touch.utm_source for touch in journeys[name].touches]
            assert found == dull(touches)[-MAX_TOUCHES:]
            assert journeys[name].truncated == (len(touches) > MAX_TOUCHES)


def steps(edge: Edge, command: Command) -> int:
    (execution,) = edge.d1.engine.execute([command])
    return execution.vm_steps


async def _credit(queries: QueryOptimizer, edge: Edge) -> None:
    journey = await queries.get_conversion_journey(edge.context(), "c1")
    credits_ = [Credit(0.1)] * len(journey.touches)
    await queries.store_attribution(edge.context(), "c1", journey, {"linear": credits_})


@pytest.mark.parametrize("apart_ms", [1, 0])
@pytest.mark.parametrize("name", STATEMENTS)
def test_d1_reads_no_others(name: str, apart_ms: int) -> None:
    """With five times as many touches a statement takes not one step more than with one over the
    bound, be they of one instant or not. Each row it reads would be some."""
    taken = []
    for count in (MAX_TOUCHES + 1, 5 * MAX_TOUCHES):
        edge = Edge()
        for conversion_id in ("c1", None):
            flood(edge, conversion_id, count, apart_ms=apart_ms)
        queries = QueryOptimizer(edge.runtime)
        edge.run(walk(edge, queries, "c2", "a", "b"))
        edge.run(_credit(queries, edge))
        taken.append(steps(edge, STATEMENTS[name]))
    assert taken[0] == taken[1] > 2 * MAX_TOUCHES


def test_a_journey_is_read_in_the_order_of_its_index(edge: Edge) -> None:
    """So nothing is sorted."""
    rows = edge.rows(f"EXPLAIN QUERY PLAN {JOURNEY}", "c1")
    index = "idx_user_journeys_conversion (conversion_id=?)"
    assert [row[3] for row in rows] == [f"SEARCH user_journeys USING INDEX {index}"]


def test_credits_know_their_touches(edge: Edge, queries: QueryOptimizer) -> None:
    """The touches are numbered as they were credited: from the oldest that counts."""

    async def work() -> list[dict[str, Any]]:
        flood(edge, "c1", MAX_TOUCHES + 7)
        await _credit(queries, edge)
        return await queries.get_attribution_data(edge.context(), "c1", "linear")

    found = edge.run(work())
    assert [row["utm_source"] for row in found] == [f"s{7 + at}" for at in range(MAX_TOUCHES)]
    assert all(row["event_name"] == "touch" for row in found)


LONGEST_IN_D1 = "\x01" * 256
"""A label that takes six bytes a sign as JSON in SQLite, which writes other text as it is."""


@pytest.mark.parametrize("conversion_id", ["c1", None])
def test_the_longest_path_fits_into_a_value_of_d1(
    edge: Edge, queries: QueryOptimizer, conversion_id: str | None
) -> None:
    """2,000,000 bytes (https://developers.cloudflare.com/d1/platform/limits/). With one that does
    not nobody could learn from the history any more."""
    flood(edge, conversion_id, MAX_TOUCHES + 1, LONGEST_IN_D1[:-4])
    edge.rows("UPDATE user_journeys SET utm_source = ?", LONGEST_IN_D1)
    statement = history.NULL if conversion_id is None else history.CONVERTING
    ((_, path),) = edge.d1.engine.execute([Command(statement, ("", 10))])[0].rows
    assert len(path.encode()) == MAX_TOUCHES * (6 * 256 + 3) + 1 < 2_000_000
    found = edge.run(queries.channel_history(edge.context()))
    assert list(found.paths) == [(LONGEST_IN_D1,) * MAX_TOUCHES]


def test_a_path_is_the_end_of_its_journey(edge: Edge, queries: QueryOptimizer) -> None:
    """Of a conversion, and of a user who has none."""
    flood(edge, "c1", MAX_TOUCHES + 2)
    flood(edge, None, MAX_TOUCHES + 3, "n")
    found = edge.run(queries.channel_history(edge.context()))
    assert found.paths == {
        tuple(f"s{2 + at}" for at in range(MAX_TOUCHES)): history.Counts(conversions=1),
        tuple(f"n{3 + at}" for at in range(MAX_TOUCHES)): history.Counts(nulls=1),
    }
