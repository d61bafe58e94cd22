"""What the queries refuse before anything travels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reference_impl.d1.arguments import BadArgument
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.messages import Context
from tests.reference_impl.fakes import Edge

Ask = Callable[[QueryOptimizer, Context], Awaitable[Any]]


@pytest.fixture
def queries(edge: Edge) -> QueryOptimizer:
    return QueryOptimizer(edge.runtime)


TOO_LONG = "x" * 129
BAD_ID = ["", TOO_LONG, "\ud800", None, 0, b"u"]
refused: list[Ask] = [
    *(lambda q, ctx, u=u: q.get_user_journey(ctx, u) for u in BAD_ID),
    *(lambda q, ctx, c=c: q.get_user_journey(ctx, "u", c) for c in ["", 0, TOO_LONG]),
    *(lambda q, ctx, c=c: q.get_attribution_data(ctx, c, "linear") for c in BAD_ID),
    *(
        lambda q, ctx, m=m: q.get_channel_performance(ctx, m)
        for m in ["", "LINEAR", "__proto__", None, ["linear"]]
    ),
    *(
        lambda q, ctx, n=n: q.get_channel_performance(ctx, "linear", n)
        for n in [-1, 0, 1001, True, 1.5, "5", None]
    ),
    lambda q, ctx: q.get_attribution_data(ctx, "c1", "valueOf"),
    lambda q, ctx: q.journey_page(ctx, "u", size=0),
    lambda q, ctx: q.journey_page(ctx, "u", size=501),
    lambda q, ctx: q.execute(ctx, "SELECT ?", [float("nan")]),
    lambda q, ctx: q.execute(ctx, "SELECT ?", [{}]),  # type: ignore[list-item]
    lambda q, ctx: q.execute(ctx, "SELECT ?", "text"),
    lambda q, ctx: q.execute(ctx, "SELECT ?", ["\ud800"]),
    lambda q, ctx: q.execute(ctx, "SELECT 1", range(101)),
    lambda q, ctx: q.execute(ctx, "SELECT 1", cache_parts="name"),
    lambda q, ctx: q.execute(ctx, "SELECT 1", cache_parts=[]),
    lambda q, ctx: q.execute(ctx, "SELECT 1", cache_parts=[""]),
    lambda q, ctx: q.execute(ctx, "DELETE FROM user_journeys", cache_parts=["x"]),
    lambda q, ctx: q.get_conversion_journeys(ctx, ["c"] * 91),
    lambda q, ctx: q.get_conversion_journeys(ctx, []),
    lambda q, ctx: q.store_model(ctx, "linear", {}),
    lambda q, ctx: q.channel_history(ctx, page_size=2001),
    lambda q, ctx: q.channel_history(ctx, max_journeys=0),
    lambda q, ctx: q.set_conversion_value(ctx, "", 1.0),
    lambda q, ctx: q.set_conversion_value(ctx, "c", -1.0),
    lambda q, ctx: q.set_conversion_value(ctx, "c", float("inf")),
    lambda q, ctx: q.set_conversion_value(ctx, "c", "1"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("ask", refused)
def test_d09_a_wrong_argument_is_refused(edge: Edge, queries: QueryOptimizer, ask: Ask) -> None:
    """With one clear error of ours, before anything travels."""

    async def work() -> None:
        with pytest.raises(BadArgument) as caught:
            await ask(queries, edge.context())
        assert 10 < len(str(caught.value)) < 300
        assert str(caught.value).isprintable()

    edge.run(work())
    assert edge.d1.calls == []
