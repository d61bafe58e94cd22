"""``channel_performance`` against a dull recomputation from the stored credits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.attribution.models import MODELS, Journey, Touch
from reference_impl.d1.queries import Attributed, QueryOptimizer
from reference_impl.ports import D1Error
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import NOON

Sums = dict[tuple[str, str], tuple[float, int, float, float]]


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


def stored(edge: Edge) -> Sums:
    """What the table says, its rows of zeros left out."""
    columns = "utm_source, attribution_model, total_attribution, total_conversions, total_value"
    rows = edge.rows(f"SELECT {columns}, avg_attribution_per_conversion FROM channel_performance")
    assert all(total == conversions == value == avg == 0 or conversions > 0
               for _, _, total, conversions, value, avg in rows)  # fmt: skip
    return {
        (channel, model): (total, conversions, value, avg)
        for channel, model, total, conversions, value, avg in rows
        if conversions
    }


def dull(edge: Edge) -> Sums:
    """The same from the credits, one by one."""
    values = dict(edge.rows("SELECT conversion_id, value FROM conversion_values"))
    hundredths: dict[tuple[str, str], int] = defaultdict(int)
    worth: dict[tuple[str, str], int] = defaultdict(int)
    conversions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for conversion_id, model, source, percent in edge.rows(
        "SELECT conversion_id, attribution_model, utm_source, credit_percentage"
        " FROM multi_touch_attribution"
    ):
        channel = ("direct" if source is None else source, model)
        if percent > 0:
            hundredths[channel] += round(percent * 100)
            worth[channel] += round(percent * 100) * round(values.get(conversion_id, 0) * 100)
            conversions[channel].add(conversion_id)
    return {
        channel: (
            total / 100,
            len(conversions[channel]),
            worth[channel] / 1e6,
            total / 100 / len(conversions[channel]),
        )
        for channel, total in hundredths.items()
    }


def journey_of(sources: list[str | None]) -> Journey:
    return Journey([Touch(source, NOON) for source in sources])


def storing(
    edge: Edge, queries: QueryOptimizer, conversion_id: str, sources: list[str | None], *names: str
) -> Coroutine[Any, Any, None]:
    journey = journey_of(sources)
    shares = {name: MODELS[name](journey.touches) for name in names or ("last_click", "linear")}
    return queries.store_attribution(edge.context(), conversion_id, journey, shares)


ids = st.sampled_from(["c1", "c2", "c3"])
journeys = st.lists(st.sampled_from(["a", "b", "", "direct", None]), max_size=7)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("store"), ids, journeys),
        st.tuples(st.just("model"), st.dictionaries(ids, journeys, min_size=1), st.just(None)),
        st.tuples(st.just("value"), ids, st.integers(0, 99_999)),
        st.tuples(st.just("insert"), journeys, st.integers(0, 9)),
    ),
    max_size=12,
)


@given(actions)
@settings(max_examples=60)
def test_the_sums_are_those_of_the_stored_credits(acts: list[tuple[str, Any, Any]]) -> None:
    """After any replacements, values and insertions, in any order: exactly, to the last digit."""
    edge = Edge()
    queries = QueryOptimizer(edge.runtime)

    async def act(kind: str, what: Any, with_what: Any) -> None:
        if kind == "store":
            await storing(edge, queries, what, with_what)
        elif kind == "value":
            await queries.set_conversion_value(edge.context(), what, with_what / 100)
        elif kind == "model":
            found = {each: journey_of(sources) for each, sources in what.items()}
            attributed = {e: Attributed(j, MODELS["linear"](j.touches)) for e, j in found.items()}
            await queries.store_model(edge.context(), "linear", attributed)
        else:
            rows = [(f"new-{with_what}", "linear", i, s, 10.0) for i, s in enumerate(what)]
            columns = ["conversion_id", "attribution_model", "touchpoint_index", "utm_source"]
            with suppress(D1Error):  # the same rows twice
                await queries.batch_insert(
                    edge.context(), "multi_touch_attribution",
                    [*columns, "credit_percentage"], rows,
                )  # fmt: skip

    async def work() -> None:
        for each in acts:
            await act(*each)

    edge.run(work())
    found, expected = stored(edge), dull(edge)
    assert found.keys() == expected.keys()
    for channel, sums in found.items():
        assert sums[:3] == expected[channel][:3]
        assert sums[3] == pytest.approx(expected[channel][3])


def test_to_process_again_changes_nothing(edge: Edge, queries: QueryOptimizer) -> None:
    """A thousand times over, thirds and sevenths among them: not a digit moves."""

    async def work() -> None:
        await queries.set_conversion_value(edge.context(), "c1", 19.99)
        for _ in range(1000):
            await storing(edge, queries, "c1", ["a", "b", "a"])
            await storing(edge, queries, "c2", ["a", *"bcdefg"])

    edge.run(work())
    found = stored(edge)
    assert found["a", "linear"] == (80.96, 2, 13.327333, 40.48)
    assert found == {channel: pytest.approx(sums) for channel, sums in dull(edge).items()}
    assert found["g", "last_click"] == (100.0, 1, 0.0, 100.0)


def test_a_channel_that_lost_its_credit_is_not_answered_with(
    edge: Edge, queries: QueryOptimizer
) -> None:
    """A later touch takes last_click from it; a conversion that has gone takes all."""

    async def work() -> list[list[Any]]:
        found = []
        for sources in (["a"], ["a", "b"], []):
            await storing(edge, queries, "c1", sources)  # type: ignore[arg-type]
            rows = await queries.get_channel_performance(edge.context(), "last_click")
            found.append([row["utm_source"] for row in rows])
        return found

    assert edge.run(work()) == [["a"], ["b"], []]


def test_direct_touches_have_a_channel(edge: Edge, queries: QueryOptimizer) -> None:
    """Touches without a source are one channel with those of that name; '' is its own."""
    edge.run(storing(edge, queries, "c1", [None, None], "linear"))
    edge.run(storing(edge, queries, "c2", ["direct", ""], "linear"))
    assert stored(edge) == {
        ("direct", "linear"): (150.0, 2, 0.0, 75.0),
        ("", "linear"): (50.0, 1, 0.0, 50.0),
    }


def test_d05_sums_and_credits_change_together(edge: Edge, queries: QueryOptimizer) -> None:
    """When the credits cannot be stored the sums are as they were."""
    edge.run(storing(edge, queries, "c1", ["a"]))
    before = stored(edge)
    edge.rows(
        "CREATE TRIGGER stop BEFORE INSERT ON multi_touch_attribution"
        " BEGIN SELECT RAISE(ABORT, 'stopped'); END"
    )

    async def work() -> None:
        with pytest.raises(D1Error, match="stopped"):
            await storing(edge, queries, "c1", ["b"])

    edge.run(work())
    assert stored(edge) == before == dull(edge)


def test_one_model_leaves_the_others(edge: Edge, queries: QueryOptimizer) -> None:
    """91 conversions would not fit one statement; 90 do, and other models' rows stay."""
    edge.run(storing(edge, queries, "c0", ["a"], "last_click"))
    journey = journey_of(["b"])
    shares = MODELS["linear"](journey.touches)
    attributed = {f"c{i}": Attributed(journey, shares) for i in range(90)}
    edge.run(queries.store_model(edge.context(), "linear", attributed))
    assert stored(edge) == {
        ("a", "last_click"): (100.0, 1, 0.0, 100.0),
        ("b", "linear"): (9000.0, 90, 0.0, 100.0),
    }
    assert max(len(command.values) for command in edge.d1.calls[-1]) <= 100
