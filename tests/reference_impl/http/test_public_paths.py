"""The public paths: totals by the plain models, and what is learnt from a database of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from reference_impl.attribution.models import (
    HUNDREDTHS,
    Model,
    Touch,
    first_click,
    last_click,
    linear,
)
from reference_impl.d1.history import ChannelHistory
from reference_impl.d1.queries import QueryOptimizer
from scenarios.journeys import load_population
from scenarios.schema import Data, Scenario
from sim.prepare import load_engine
from tests.oracles import removal
from tests.oracles.paths import PublicPath, public_paths
from tests.oracles.totals import first_click_totals, last_click_totals, linear_totals
from tests.reference_impl.fakes import Edge

NOON = "2026-01-01T12:00:00.000Z"
LOADED = 1000
"""Paths that the database is loaded with; all of them take ten seconds."""


@pytest.mark.parametrize(
    ("model", "oracle"),
    [
        (last_click, last_click_totals),
        (first_click, first_click_totals),
        (linear, linear_totals),
    ],
)
def test_totals_on_the_public_paths_are_exact(
    model: Model, oracle: Callable[[Iterable[PublicPath]], Counter[str]]
) -> None:
    """All 10,000 paths times their conversions, to the hundredth of a percent for each channel."""
    totals: Counter[str] = Counter()
    for channels, conversions, _ in public_paths():
        shares = model([Touch(channel, NOON) for channel in channels])
        for channel, credit in zip(channels, shares, strict=True):
            totals[channel] += conversions * round(credit.percent * 100)
    assert totals == oracle(public_paths())
    assert totals.total() == 19_785 * HUNDREDTHS


def test_b11_a_database_of_them_is_learnt_from_as_they_are(edge: Edge) -> None:
    """Loaded with their nulls and read back by pages: each path as often as the file has it, and
    effects within 1e-9 of exact arithmetic."""
    asked = Scenario(data=Data(null_paths=True, max_paths=LOADED))
    edge.d1.engine.close()
    edge.d1.engine = load_engine(asked, load_population(asked.data))

    async def work() -> ChannelHistory:
        return await QueryOptimizer(edge.runtime).channel_history(edge.context())

    history = edge.run(work())
    paths = public_paths()[:LOADED]
    expected: Counter[tuple[tuple[str, ...], str]] = Counter()
    for channels, conversions, nulls in paths:
        expected[tuple(channels), "conversions"] += conversions
        expected[tuple(channels), "nulls"] += nulls
    read = {
        (path, kind): count
        for path, counts in history.paths.items()
        for kind, count in counts._asdict().items()
    }
    assert {each: n for each, n in read.items() if n} == {e: n for e, n in expected.items() if n}
    exact = {name: float(effect) for name, effect in removal.removal_effects(paths).items()}
    assert history.effects().by_channel == pytest.approx(exact, rel=0, abs=1e-9)
