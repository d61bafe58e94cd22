"""The round trips between regions."""

from __future__ import annotations

from typing import get_args

import pytest

from scenarios.regions import D1Region, Region, between_ms
from scenarios.schema import Scenario


def test_every_pair_of_regions_has_a_round_trip() -> None:
    """No node can meet a database without a figure between them."""
    for node in get_args(Region):
        for database in get_args(D1Region):
            if node != database:
                assert 1 < between_ms(node, database) < 400


def test_a_round_trip_is_the_same_in_both_directions() -> None:
    """The matrix is symmetric where both sides can hold a database."""
    for one in get_args(D1Region):
        for other in get_args(D1Region):
            if one != other:
                assert between_ms(one, other) == between_ms(other, one)


@pytest.mark.parametrize(
    ("node", "database", "round_trip_ms"),
    [("weur", "enam", 78), ("sam", "wnam", 174), ("ind", "apac", 62), ("eeur", "oc", 253)],
)
def test_figures_of_the_source(node: Region, database: D1Region, round_trip_ms: int) -> None:
    """A few entries, copied by hand from the source."""
    assert between_ms(node, database) == round_trip_ms


@pytest.mark.parametrize(
    ("region", "metro", "round_trip_ms"),
    [("weur", None, 12), ("weur", "n", 2), ("enam", None, 78)],
)
def test_round_trip_of_a_node(region: str, metro: str | None, round_trip_ms: float) -> None:
    """Same metro, same region, another region: three figures."""
    scenario = Scenario.model_validate(
        {"edge": {"nodes": [{"name": "n", "region": region}]}, "d1": {"metro": metro}}
    )
    assert scenario.d1_round_trip_ms(scenario.edge.nodes[0]) == round_trip_ms
