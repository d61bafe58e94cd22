"""The history of journeys on D1 against a dull count, and the effects that follow from it."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.attribution.markov import Channel, removal_effects
from reference_impl.d1.history import MAX_CHANNELS, ChannelHistory, Counts
from reference_impl.d1.queries import QueryOptimizer
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import touch, walk

Step = tuple[str, str | None, str | None, int]
Dull = tuple[Counter[tuple[Channel, ...]], Counter[tuple[Channel, ...]]]


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


def dull(steps: list[Step]) -> Dull:
    """Converting and null paths of touches in the order they were made."""
    order = sorted(range(len(steps)), key=lambda at: (steps[at][3], at))
    by_conversion: dict[str, list[Channel]] = defaultdict(list)
    by_user: dict[str, list[Channel]] = defaultdict(list)
    converted = {user for user, conversion_id, _, _ in steps if conversion_id is not None}
    for at in order:
        user, conversion_id, source, _ = steps[at]
        if conversion_id is not None:
            by_conversion[conversion_id].append(source)
        elif user not in converted:
            by_user[user].append(source)
    return Counter(map(tuple, by_conversion.values())), Counter(map(tuple, by_user.values()))


steps = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "u3", "\u00e9"]),
        st.sampled_from([None, None, "c1", "c2", "C"]),
        st.sampled_from(["a", "b", "", None, 'q"\x00\n\\', "\U0001f600"]),
        st.integers(0, 5),
    ),
    max_size=20,
)


@given(steps, st.integers(1, 5))
@settings(max_examples=60)
def test_b11_history_is_every_path_once(made: list[Step], page_size: int) -> None:
    """Any touches, any names, any page size: a conversion's whole path, a lost user's whole path,
    and nothing of a user who converted beside."""
    edge = Edge()
    queries = QueryOptimizer(edge.runtime)

    async def work() -> Dull:
        for at, (user, conversion_id, source, time) in enumerate(made):
            await touch(
                edge, queries, source, user_id=user, conversion_id=conversion_id,
                event_timestamp=time, event_id=str(at),
            )  # fmt: skip
        history = await queries.channel_history(edge.context(), page_size=page_size)
        assert history.complete
        assert all(counts.conversions + counts.nulls > 0 for counts in history.paths.values())
        return (
            +Counter({path: counts.conversions for path, counts in history.paths.items()}),
            +Counter({path: counts.nulls for path, counts in history.paths.items()}),
        )

    assert edge.run(work()) == dull(made)


async def three_kinds(edge: Edge, queries: QueryOptimizer) -> None:
    for number in range(4):
        await walk(edge, queries, f"c{number}", "a", "b")
    for number in range(5):
        user = f"lost{number}"
        await touch(edge, queries, "b", user_id=user, conversion_id=None, event_id=user)


def test_b11_effects_are_learnt_from_it(edge: Edge, queries: QueryOptimizer) -> None:
    """The same as from the paths told by hand."""
    edge.run(three_kinds(edge, queries))
    history = edge.run(queries.channel_history(edge.context()))
    assert history.effects() == removal_effects([(("a", "b"), 4, 0), (("b",), 0, 5)])


def test_b11_the_channels_that_effects_are_learnt_of_are_bounded() -> None:
    """Anybody can invent names: the chain is solved for those that most journeys touched. Within
    the bound every channel counts."""
    paths: dict[tuple[Channel, ...], Counts] = {
        ("a", "x1", "b", "x2"): Counts(3, 1),
        ("x3",): Counts(1, 0),
        ("b", "b"): Counts(0, 2),
    }
    history = ChannelHistory(paths, complete=True)
    by_hand = removal_effects([(("a", "b"), 3, 1), (("b", "b"), 0, 2)])
    assert history.effects(max_channels=2) == by_hand
    assert history.effects() == removal_effects((path, *n) for path, n in paths.items())


def test_b11_ten_thousand_invented_channels_are_no_burden() -> None:
    """As many as the bound have effects, the channels of real traffic among them."""
    invented: dict[tuple[Channel, ...], Counts] = {
        (f"x{number}", "a"): Counts(1, 1) for number in range(10_000)
    }
    effects = ChannelHistory({**invented, ("a", "b"): Counts(5, 5)}, complete=True).effects()
    assert len(effects.by_channel) == MAX_CHANNELS
    assert effects.by_channel["a"] == pytest.approx(1)
    assert 0 < effects.by_channel["b"] < 1


def test_a_page_is_one_statement_and_bounded(edge: Edge, queries: QueryOptimizer) -> None:
    """Four conversions and nine users, three a page: two and four statements; a bound on the
    journeys stops the reading and says so."""
    edge.run(three_kinds(edge, queries))
    edge.d1.calls.clear()
    edge.run(queries.channel_history(edge.context(), page_size=3))
    assert len(edge.d1.calls) == 2 + 4
    cut = edge.run(queries.channel_history(edge.context(), page_size=2, max_journeys=3))
    assert not cut.complete
    assert sum(counts.conversions for counts in cut.paths.values()) == 3
    users_cut = edge.run(queries.channel_history(edge.context(), page_size=2, max_journeys=5))
    assert not users_cut.complete


def test_d10_a_page_uses_the_indexes(edge: Edge, queries: QueryOptimizer) -> None:
    """Names from a covering index, rows by a search for each; only a journey is sorted."""
    edge.run(queries.channel_history(edge.context()))
    for (command,) in edge.d1.calls[-2:]:
        rows = edge.rows(f"EXPLAIN QUERY PLAN {command.sql}", *command.values)  # type: ignore[arg-type]
        plan = [row[3] for row in rows]
        assert any("SEARCH user_journeys USING COVERING INDEX" in step for step in plan)
        assert not any("SCAN user_journeys" in step for step in plan)
        assert [step for step in plan if "TEMP" in step] == [
            "USE TEMP B-TREE FOR json_group_array(ORDER BY)"
        ]
