"""Attribution as an isolate does it: data_driven learns from the stored history, once for all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.attribution.markov import RemovalEffects, removal_effects
from reference_impl.attribution.models import Touch, data_driven
from reference_impl.config import StackConfig
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.isolate.attributor import EFFECTS_KEY, LEARNS, effects_of, effects_text
from reference_impl.isolate.worker import Worker
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import walk

PATHS = {"c1": ("a", "b"), "c2": ("a", "a"), "c3": ("b",), "c4": ("a", "b", "a")}


@pytest.fixture
def edge(edge: Edge) -> Edge:
    """A database with four conversions and one visitor who came by ``b`` and did not convert."""

    async def fill() -> None:
        queries = QueryOptimizer(edge.runtime)
        for conversion_id, sources in PATHS.items():
            await walk(edge, queries, conversion_id, *sources)
        await walk(edge, queries, None, "b")

    edge.run(fill())
    return edge


@pytest.fixture
def worker(edge: Edge) -> Worker:
    return Worker(edge.runtime, StackConfig())


def ask(edge: Edge, worker: Worker, conversion_id: str, model: str = LEARNS) -> dict[str, Any]:
    response = edge.run(worker.attribution(edge.context(), conversion_id, model))
    assert response.status == 200
    answer: dict[str, Any] = json.loads(response.body)
    return answer


def history_reads(edge: Edge) -> int:
    """Statements that read a page of the history."""
    return sum(" AS path" in command.sql for call in edge.d1.calls for command in call)


def test_b11_the_history_decides(edge: Edge, worker: Worker) -> None:
    """data_driven credits as the pure function does under the effects of what is stored."""
    effects = removal_effects([*((path, 1, 0) for path in PATHS.values()), (("b",), 0, 1)])
    journey = [credit["utm_source"] for credit in ask(edge, worker, "c4")["attribution"]]
    assert journey == list(PATHS["c4"])
    got = [credit["credit_percentage"] for credit in ask(edge, worker, "c4")["attribution"]]
    assert sum(got) == pytest.approx(100)
    assert got[0] == pytest.approx(got[2], abs=0.01)
    assert got[0] != pytest.approx(100 / 3, abs=1)
    assert effects.by_channel["a"] != effects.by_channel["b"]
    stored = edge.kv.text(EFFECTS_KEY)
    assert stored is not None
    assert effects_of(stored) == effects


def test_the_history_is_read_once(edge: Edge, worker: Worker) -> None:
    """Fifty look-ups at once, and a second isolate later, share one reading."""

    async def all_at_once() -> None:
        works = (worker.attribution(edge.context(), f"c{1 + i % 4}", LEARNS) for i in range(50))
        await edge.runtime.gather(works)

    edge.run(all_at_once())
    once = history_reads(edge)
    ask(edge, Worker(edge.runtime, StackConfig()), "c2")
    assert once == history_reads(edge) == 2  # a page of each kind


def test_b11_what_was_learnt_anew_is_used(edge: Edge, worker: Worker) -> None:
    """When the entry has ended the history is read again, and this isolate credits by it."""
    before = ask(edge, worker, "c1")["attribution"]

    async def later() -> None:
        queries = QueryOptimizer(edge.runtime)
        for number in range(20):
            await walk(edge, queries, f"more{number}", "b")
        await edge.sleep_s(3601)

    edge.run(later())
    paths = [*PATHS.values(), *[("b",)] * 20]
    effects = removal_effects([*((path, 1, 0) for path in paths), (("b",), 0, 1)])
    journey = [Touch("a", ""), Touch("b", "")]
    expected = [credit.percent for credit in data_driven(journey, effects)]
    after = ask(edge, worker, "c1")["attribution"]
    assert [credit["credit_percentage"] for credit in after] == expected
    assert after != before


def test_the_look_up_of_the_effects_is_evidence(edge: Edge, worker: Worker) -> None:
    """It counts as one of the type channelMetrics."""
    ctx = edge.context()
    edge.run(worker.attribution(ctx, "c1", LEARNS))
    assert [lookup.cache_type for lookup in ctx.evidence.lookups] == [
        "channelMetrics",
        "attribution",
    ]


def test_a_fallback_says_so(edge: Edge, worker: Worker) -> None:
    """A channel that the history did not have when it was read: linear credit, and why."""
    ask(edge, worker, "c1")

    async def later() -> None:
        await walk(edge, QueryOptimizer(edge.runtime), "c9", "new", "a")

    edge.run(later())
    answer = ask(edge, worker, "c9")
    assert [credit["credit_percentage"] for credit in answer["attribution"]] == [50, 50]
    assert answer["note"] == "channel 'new' is not in the history"
    assert "note" not in ask(edge, worker, "c1")


@pytest.mark.parametrize("direct", ["skip", "credit"])
def test_b14_direct_visits_follow_the_rule(direct: Any, edge: Edge) -> None:
    """skip: the last touch with a source; credit: the last touch."""

    async def visit() -> None:
        await walk(edge, QueryOptimizer(edge.runtime), "c9", "a", None)

    edge.run(visit())
    worker = Worker(edge.runtime, StackConfig(direct=direct))
    credits_ = ask(edge, worker, "c9", "last_click")["attribution"]
    expected = {"skip": [100, 0], "credit": [0, 100]}[direct]
    assert [credit["credit_percentage"] for credit in credits_] == expected


@given(
    st.dictionaries(st.none() | st.text(), st.floats(0, 1, allow_nan=False)),
    st.integers(0, 10**9),
)
def test_effects_survive_the_cache(by_channel: dict[str | None, float], conversions: int) -> None:
    """Any names, None among them, and every digit."""
    effects = RemovalEffects(by_channel, conversions)
    assert effects_of(effects_text(effects)) == effects
