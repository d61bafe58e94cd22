"""The gate's self-test on small numbers: what it simulates, and that it is the same each time."""

from __future__ import annotations

import pytest

from reports.gate import Rules, gate
from reports.kpis import CATALOGUE
from sim import self_test
from sim.self_test import FIRST_SEED, KNOBS, REPLICATIONS, WORLDS, Knob, false_alarms


def test_every_kpi_has_a_known_change_in_one_world() -> None:
    """None is left out, none is changed in two."""
    assert sorted(KNOBS) == sorted(kpi.name for kpi in CATALOGUE)
    assert sum(map(len, WORLDS)) == len(KNOBS)


def test_equal_seeds_are_equal_by_construction() -> None:
    """A build against itself: proven for every KPI, in whatever process. Once is enough."""
    one, other = (self_test._run({}, FIRST_SEED, REPLICATIONS) for _ in range(2))
    verdict = gate([one], [other], Rules())
    assert all(change.proven for change in verdict.judged[0].changes)


@pytest.mark.parametrize("world", WORLDS, ids=range(len(WORLDS)))
def test_turned_all_the_way_a_knob_does_more_than_enough(world: dict[str, Knob]) -> None:
    """So bisection has something to find between its ends; and not turned it does nothing."""
    rules = Rules()
    harmful = {name: knob.harmful for name, knob in world.items()}
    for found in self_test._moved(harmful, FIRST_SEED):
        if found.kpi.name in world:
            assert self_test._enough([found], rules), found.kpi.name
    harmless = {name: knob.harmless for name, knob in world.items()}
    assert all(found.proven for found in self_test._moved(harmless, FIRST_SEED))


def test_a_change_counts_as_if_it_were_alone() -> None:
    """All KPIs of a world have moved, and each is judged at the level of eight comparisons."""
    factors = {name: WORLDS[1][name].harmful for name in WORLDS[1]}
    findings = self_test._moved(factors, FIRST_SEED)
    caught = {one.kpi.name for one in findings if self_test._caught(findings, one, Rules())}
    assert "worker_memory_max" in caught
    assert "cache_hit_ratio" not in caught


@pytest.mark.slow
def test_pairs_are_the_same_in_any_process() -> None:
    """What two workers count is what one process counts."""
    told = false_alarms(2, Rules(), lambda _count: None)
    here = [self_test._unchanged(Rules(), index) for index in range(2)]
    assert [alarms.stopped for alarms in told] == [sum(way) for way in zip(*here, strict=True)]
    assert [alarms.builds for alarms in told] == [2, 2]
