"""The gate's self-test on small numbers: its plan, what it counts, and the same in any process."""

from __future__ import annotations

from functools import partial

import pytest

from reports.gate import Rules, gate
from reports.kpis import BY_NAME
from reports.record import Unit
from sim import self_test
from sim.known_changes import FIRST_SEED, PLAIN, SLOWER, Settings, findings, run, runs, turned
from sim.self_test import BLOCK, POWER_BUILDS, SIZES, WORLDS, Change, Question, block

LAST = POWER_BUILDS
"""A block behind those with known changes; its first pair is the 151st."""


def test_equal_seeds_are_equal_by_construction() -> None:
    """A build against itself: proven for every KPI, in whatever process. Once is enough."""
    one, other = (runs(PLAIN, range(FIRST_SEED, FIRST_SEED + 3)) for _ in range(2))
    verdict = gate([one], [other], Rules())
    assert all(change.proven for change in verdict.judged[0].changes)


@pytest.mark.parametrize("pairs", [1, 7, 299, 1000])
def test_every_pair_is_in_one_block_and_shares_no_seed(pairs: int) -> None:
    """As many as were asked for, and those of five that the same replications make."""
    blocks = range(self_test._blocks(pairs))
    assert len(blocks) >= POWER_BUILDS
    for size in SIZES:
        own = [self_test._pairs(pairs, index, size) for index in blocks]
        numbers = [number for each in own for number in each]
        assert numbers == list(range(pairs * SIZES[0] // size))
        for index, each in enumerate(own):
            seeds = [2 * size * number + seed for number in each for seed in range(2 * size)]
            assert all(index * BLOCK <= seed < (index + 1) * BLOCK for seed in seeds)


def test_a_block_simulates_what_was_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seed once without a change, whatever is made of it, and once a world; and builds that
    are all alike are never stopped."""
    unit, ran = run(PLAIN, FIRST_SEED), list[tuple[Settings, int]]()

    def counted(settings: Settings, seed: int) -> Unit:
        ran.append((settings, seed))
        return unit

    monkeypatch.setattr(self_test, "run", counted)
    changes = [
        tuple(Change(world, ("seed=1",), count) for world, count in worlds) for worlds in WORLDS
    ]
    questions = [Question("", Rules(), own) for own in changes]
    for pairs, index in ((1, 0), (1000, 0), (1000, LAST), (151, LAST)):
        ran.clear()
        answers = block(pairs, questions, index)
        assert len(ran) == self_test._replications(pairs, index)
        plain = [seed for settings, seed in ran if settings == PLAIN]
        assert len(set(plain)) == len(plain)
        judged = [pair for answer in answers for size in SIZES for pair in answer.stopped[size]]
        assert judged
        assert not any(map(any, judged))
        names = [name for worlds in WORLDS for world, _ in worlds for name in world.knobs]
        caught = [name for answer in answers for name in answer.caught]
        assert caught == (names if index < POWER_BUILDS else [])


def test_a_change_counts_as_if_it_were_alone() -> None:
    """All KPIs of a world have moved, and each is judged at the level of eight comparisons."""
    seeds = range(FIRST_SEED, FIRST_SEED + 4)
    harmful = turned(SLOWER, {name: knob.harmful for name, knob in SLOWER.knobs.items()})
    new, old = runs(harmful, seeds), runs(PLAIN, seeds)
    told = dict(self_test.caught(new, old, BY_NAME, Rules()))
    assert told["worker_memory_max"][1]
    assert told["worker_memory_max"][0] == pytest.approx(0.5, abs=0.05)
    assert not told["cache_hit_ratio"][1]
    assert list(told) == [found.kpi.name for found in findings(new, old)]


@pytest.mark.slow
def test_pairs_are_the_same_in_any_process() -> None:
    """What a worker finds is what this process finds."""
    work = partial(block, 151, [Question("", Rules(), ())])
    with self_test._workers() as workers:
        (told,) = workers.map(work, [LAST])
    assert told == work(LAST)
    assert len(told[0].stopped[3]) == 1
