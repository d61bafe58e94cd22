"""The gate measures itself: how often it is wrong, and what it misses.

Builds in which nothing has changed are pairs of runs with different seeds (with equal seeds they
are equal by construction, and there is nothing to be wrong about). Each pair is judged twice: as
what it is, by two samples, and as if the second run had the seeds of the first, seed by seed, which
is what a change that redraws everything looks like to the gate.

Builds with a known change are the same seeds in a world in which KPIs are worse by twice the least
change that matters (:mod:`sim.known_changes`); each KPI is judged as if it alone had changed, which
is the stricter level.

All of it is asked twice: by the rules given, and by a least change so small that only paired seeds
can show it. The work is cut into blocks of seeds. A block simulates each seed once without a
change; pairs of few and of more replications and a build with known changes are made of those.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from math import ceil, fsum
from multiprocessing import get_context
from typing import NamedTuple

from reports.changes import Finding, decide
from reports.effects import parse_min_effects
from reports.gate import GateVerdict, Rules, code_of, gate
from reports.kpis import BY_NAME
from reports.record import RunRecord
from sim.error_rates import Alarms, Power, Rates, SelfTest
from sim.known_changes import (
    FIRST_SEED,
    MOST_REPLICATIONS,
    PLAIN,
    QUEUED,
    RARER,
    SLOWER,
    Settings,
    World,
    calibrated,
    change_of,
    findings,
    record_of,
    run,
)

SIZES = (3, 5)
"""Replications of each run of a pair: few, where Student's law is at its worst, and as many as
``edgekpi simulate`` makes by default. There are as many pairs of the first size as were asked for,
and as many of the others as the same replications make."""

BLOCK = 30
"""Seeds a block: whole pairs of every size."""

POWER_BUILDS = 30
"""Builds with known changes: if all are stopped, the power is surely over nine in ten."""

FINE = "0.5%"
"""The least change of the second question."""

WORLDS = (
    ((RARER, 20), (QUEUED, 8), (SLOWER, 10)),
    ((SLOWER, 20),),
)
"""Of each question: worlds with known changes, and the replications of a run that show them. The
second leaves out the hit ratio and the errors, whose least change is the same in both, and the
queue for the time it takes (docs/gate.md)."""

Progress = Callable[[int], None]


class Change(NamedTuple):
    """A world with its knobs turned, and the replications of a run in it."""

    world: World
    turned: Settings
    replications: int


class Question(NamedTuple):
    """The rules that builds are judged by, and the changes that matter by them."""

    title: str
    rules: Rules
    changes: tuple[Change, ...]


class Answer(NamedTuple):
    """What one block says to one question.

    ``stopped``: whether each pair of each size was stopped, by two samples and seed by seed.
    ``caught``: how far each KPI moved in the build with known changes, and whether that alone would
    have stopped it; empty in a block without such a build.
    """

    stopped: dict[int, list[tuple[bool, bool]]]
    caught: dict[str, tuple[float, bool]]


def measure(pairs: int, rules: Rules, progress: Progress) -> SelfTest:
    """Simulate and judge so many pairs, and the builds with known changes.

    ``progress`` is told of replications that are done, of :func:`replications` in all. The same
    numbers come out in every process. Raises :class:`sim.known_changes.NothingToCatch`.
    """
    answers: list[list[Answer]] = []
    with _workers() as workers:
        questions = _questions(rules, workers, progress)
        judged = workers.map(partial(block, pairs, questions), range(_blocks(pairs)))
        for index, each in enumerate(judged):
            answers.append(each)
            progress(_replications(pairs, index))
    return SelfTest(rules.alpha, list(map(_rates, questions, zip(*answers, strict=True))))


def replications(pairs: int) -> int:
    """What ``progress`` adds up to: all replications, or a few more if the knobs are found soon."""
    turning = sum(map(len, WORLDS)) * MOST_REPLICATIONS
    return turning + sum(_replications(pairs, index) for index in range(_blocks(pairs)))


# --------------------------------------------------------------------------- the plan


def _questions(rules: Rules, workers: Executor, progress: Progress) -> list[Question]:
    """Both questions, once the knobs of their worlds have been turned."""
    fine = replace(rules, least=parse_min_effects([FINE]))
    asked = ("the least changes given", rules), (f"--min-effect {FINE}", fine)
    coming = [
        [(world, workers.submit(calibrated, world, own.least), count) for world, count in worlds]
        for (_, own), worlds in zip(asked, WORLDS, strict=True)
    ]
    questions = []
    for (title, own), worlds in zip(asked, coming, strict=True):
        changes = []
        for world, turned, count in worlds:
            changes.append(Change(world, turned.result(), count))
            progress(MOST_REPLICATIONS)
        questions.append(Question(title, own, tuple(changes)))
    return questions


def _blocks(pairs: int) -> int:
    return max(ceil(pairs * 2 * SIZES[0] / BLOCK), POWER_BUILDS)


def _pairs(pairs: int, index: int, size: int) -> range:
    """The numbers of a block's pairs of one size."""
    each, most = BLOCK // (2 * size), pairs * SIZES[0] // size
    return range(min(index * each, most), min((index + 1) * each, most))


def _replications(pairs: int, index: int) -> int:
    """How many replications a block needs."""
    unchanged = max(2 * size * len(_pairs(pairs, index, size)) for size in SIZES)
    if index >= POWER_BUILDS:
        return unchanged
    worlds = [each for own in WORLDS for each in own]
    shared = max([unchanged, *(count for world, count in worlds if world.settings == PLAIN)])
    return shared + sum(count * (1 if world.settings == PLAIN else 2) for world, count in worlds)


# --------------------------------------------------------------------------- one block


def block(pairs: int, questions: Sequence[Question], index: int) -> list[Answer]:
    """What the block says to each question."""
    once = cache(run)  # the units of this block without a change, and gone with it

    def unchanged(settings: Settings, first: int, count: int) -> RunRecord:
        units = [once(settings, seed) for seed in range(first, first + count)]
        return record_of(settings, first, units)

    answers = [Answer({size: [] for size in SIZES}, {}) for _ in questions]
    for size in SIZES:
        for number in _pairs(pairs, index, size):
            first = FIRST_SEED + 2 * size * number
            old, new = (unchanged(PLAIN, seed, size) for seed in (first, first + size))
            for question, answer in zip(questions, answers, strict=True):
                answer.stopped[size].append(stopped(new, old, question.rules))
    if index < POWER_BUILDS:
        first = FIRST_SEED + BLOCK * index
        for question, answer in zip(questions, answers, strict=True):
            for change in question.changes:
                old = unchanged(change.world.settings, first, change.replications)
                units = [run(change.turned, seed) for seed in old.seeds]
                new = record_of(change.turned, first, units)
                answer.caught.update(caught(new, old, change.world.knobs, question.rules))
    return answers


def stopped(new: RunRecord, old: RunRecord, rules: Rules) -> tuple[bool, bool]:
    """Whether a build without a change is stopped: by two samples, and seed by seed."""
    renumbered = replace(new, seed=old.seed)
    return _is_stopped(gate([new], [old], rules)), _is_stopped(gate([renumbered], [old], rules))


def _is_stopped(verdict: GateVerdict) -> bool:
    return verdict.code == code_of("regressed")


def caught(
    new: RunRecord, old: RunRecord, names: Container[str], rules: Rules
) -> Iterator[tuple[str, tuple[float, bool]]]:
    """How far each of these KPIs has moved in a build, and whether that alone would have stopped
    it."""
    found = findings(new, old)
    for one in found:
        if one.kpi.name in names:
            yield one.kpi.name, (change_of(one), _is_caught(found, one, rules))


def _is_caught(found: Sequence[Finding], one: Finding, rules: Rules) -> bool:
    """Whether ``one`` is regressed while all others are as they were."""
    alone = [each if each is one else replace(each, shift=None, proven=True) for each in found]
    changes = decide(alone, rules.alpha, rules.least)
    return any(change.kpi is one.kpi and change.word == "regressed" for change in changes)


# --------------------------------------------------------------------------- all blocks


def _rates(question: Question, answers: Sequence[Answer]) -> Rates:
    """What all blocks together say to one question."""
    powers = [
        _power(name, change.replications, answers)
        for change in question.changes
        for name in change.world.knobs
    ]
    return Rates(question.title, list(_alarms(answers)), powers)


def _alarms(answers: Sequence[Answer]) -> Iterator[Alarms]:
    for size in SIZES:
        pairs = [pair for answer in answers for pair in answer.stopped[size]]
        for way, name in enumerate(("two samples", "seed by seed")):
            yield Alarms(name, size, len(pairs), sum(pair[way] for pair in pairs))


def _power(name: str, replications: int, answers: Sequence[Answer]) -> Power:
    builds = [answer.caught[name] for answer in answers if answer.caught]
    change = fsum(moved for moved, _ in builds) / len(builds)
    found = sum(is_caught for _, is_caught in builds)
    return Power(BY_NAME[name], replications, change, len(builds), found)


@contextmanager
def _workers() -> Iterator[Executor]:
    """A process a processor; started afresh, since a copy of a process with threads may hang.

    Whatever ends it, Ctrl-C for example, only what is under way is waited for.
    """
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
