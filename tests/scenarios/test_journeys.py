"""The population: the sums of the data, identity, order and times of its rows."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest

from reference_impl.d1.schema import JOURNEY_COLUMNS
from reference_impl.times import from_wall_us, parse
from scenarios.journeys import COLUMNS, EPOCH_US, Row, load_population
from scenarios.schema import Data

USER, EVENT, NAME, SOURCE = (COLUMNS.index(c) for c in COLUMNS[:4])
TIME, POSITION, CONVERSION, CREATED = (COLUMNS.index(c) for c in COLUMNS[8:])


@pytest.fixture(scope="module")
def small() -> list[Row]:
    """The rows of the first 100 paths, those that did not convert included."""
    return list(load_population(Data(max_paths=100, null_paths=True)).rows())


def test_columns_are_those_of_the_table() -> None:
    """Rows fit the schema's insert."""
    assert COLUMNS == JOURNEY_COLUMNS


def test_the_whole_data() -> None:
    """The sums of the source: conversions, touches, and a user for each journey.

    19,785 conversions with 86,322 touches; 68,602 journeys with 291,887 touches did not convert.
    """
    population = load_population(Data(null_paths=True))
    rows = list(population.rows())
    converted = sum(row[CONVERSION] is not None for row in rows)
    assert (converted, len(rows) - converted) == (86_322, 291_887)
    assert len({pair.conversion_id for pair in population.conversions}) == 19_785
    users = [row[USER] for row in rows if row[POSITION] == 0]
    assert len(users) == len(set(users)) == 19_785 + 68_602


def test_the_first_path_is_told_in_order() -> None:
    """Row 1 of the file: eta > iota > alpha > eta, one conversion."""
    population = load_population(Data(max_paths=1))
    rows = list(population.rows())
    assert [row[SOURCE] for row in rows] == ["eta", "iota", "alpha", "eta"]
    assert [row[POSITION] for row in rows] == [0, 1, 2, 3]
    assert {row[NAME] for row in rows} == {"touch"}
    assert {(row[CONVERSION], row[USER]) for row in rows} == set(population.conversions)


def test_times_rise_within_a_journey_and_end_before_the_epoch(small: list[Row]) -> None:
    """Touches are at least an hour apart, in the stack's one format, before the data epoch."""
    journeys = defaultdict(list)
    for row in small:
        journeys[row[USER]].append(row)
    epoch = from_wall_us(EPOCH_US)
    assert epoch == "2026-01-01T00:00:00.000Z"
    for rows in journeys.values():
        times = [str(row[TIME]) for row in rows]
        assert all(parse(time) == time < epoch for time in times)
        assert all(earlier[:13] < later[:13] for earlier, later in pairwise(times))
        assert [row[POSITION] for row in rows] == list(range(len(rows)))
        assert len({row[CONVERSION] for row in rows}) == 1
    assert all(row[CREATED] == row[TIME] for row in small)


def test_event_ids_are_unique(small: list[Row]) -> None:
    """No event is there twice, converted or not."""
    assert len({row[EVENT] for row in small}) == len(small)


def test_rows_may_be_asked_for_again_and_depend_on_the_seed() -> None:
    """Equal settings give equal rows; another seed gives other IDs for the same channels."""
    population = load_population(Data(max_paths=20))
    rows = list(population.rows())
    assert list(population.rows()) == rows
    assert list(load_population(Data(max_paths=20)).rows()) == rows
    other = list(load_population(Data(max_paths=20, seed=2)).rows())
    assert [row[SOURCE] for row in other] == [row[SOURCE] for row in rows]
    assert not {row[USER] for row in other} & {row[USER] for row in rows}


def test_null_paths_come_behind_and_change_nothing_before(small: list[Row]) -> None:
    """The converted journeys are the same with and without the others."""
    alone = list(load_population(Data(max_paths=100)).rows())
    assert small[: len(alone)] == alone
    assert all(row[CONVERSION] is None for row in small[len(alone) :])
