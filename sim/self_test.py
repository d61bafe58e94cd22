"""The gate measures itself: how often it is wrong, and what it misses.

Builds in which nothing has changed are pairs of runs with different seeds (with equal seeds they
are equal by construction, and there is nothing to be wrong about). Each pair is judged twice: as
what it is, by two samples, and as if the second run had the seeds of the first, seed by seed, which
is what a change that redraws everything looks like to the gate.

Builds with a known change are the same seeds in a world in which every KPI is worse by twice the
least change that matters. How far a part of the world has to be scaled for that is found by
bisection first; then each KPI is judged as if it alone had changed, which is the stricter level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache, partial, reduce
from math import exp, fsum, log
from multiprocessing import get_context
from operator import getitem
from typing import Any, NamedTuple, TypeVar

from reports.changes import Finding, asked_of, decide, find
from reports.effects import Scale
from reports.gate import GateVerdict, Rules, code_of, gate
from reports.kpis import BY_NAME
from reports.pools import Pool
from reports.record import RunRecord
from reports.verdict import judge
from scenarios.loader import load
from scenarios.plan import Plan
from scenarios.record import new_record
from scenarios.schema import Scenario
from sim.error_rates import Alarms, Power
from sim.prepare import Prepared, prepare
from sim.simulate import Replication, quiet_collector

SCENARIO = "smoke/tiny"

REPLICATIONS = 3
"""Of each run without a change: few, since Student's law is at its worst there."""

POWER_REPLICATIONS = 20
POWER_BUILDS = 30
"""Builds with a known change: if all are stopped, the power is surely over nine in ten."""

FIRST_SEED = 1_000_000
TIMES = 2
"""The known change of each KPI, in least changes that matter."""

CALIBRATION_SEEDS = 20
ROUNDS = 9
_AT_ONCE = 5  # seeds a process takes in one go


class Knob(NamedTuple):
    """Settings whose scaling makes one KPI worse, and between which factors."""

    settings: tuple[str, ...]
    harmless: float
    harmful: float


def _law(setting: str) -> tuple[str, ...]:
    return (f"{setting}.p50", f"{setting}.p99")


WORLDS: tuple[dict[str, Knob], ...] = (
    {
        "cache_hit_ratio": Knob(("kv.expiration_ttl_s.attribution",), 1.0, 1 / 60),
        "queue_processing_p95": Knob(_law("kv.write_ms"), 1.0, 1.5),
        "error_ratio": Knob(("client.timeout_s",), 1.0, 1 / 100),
    },
    {
        "tracking_latency_p95": Knob(_law("client.rtt_ms"), 1.0, 1.5),
        "attribution_latency_p95": Knob(_law("kv.read_central_ms"), 1.0, 1.5),
        "d1_query_p95": Knob(_law("d1.commit_ms"), 1.0, 1.5),
        "worker_memory_max": Knob(("edge.base_memory_mib",), 1.0, 1.5),
        "worker_cpu_p95": Knob(_law("edge.cpu_ms"), 1.0, 1.5),
    },
)
"""Worlds with known changes, the knob of each KPI that is changed in them. KPIs share a world where
one's knob does not make the other's noise."""

KNOBS = {name: knob for world in WORLDS for name, knob in world.items()}

Factors = Mapping[str, float]
Progress = Callable[[int], None]
R = TypeVar("R")


# --------------------------------------------------------------------------- measuring


def false_alarms(pairs: int, rules: Rules, progress: Progress) -> list[Alarms]:
    """Judge so many builds in which nothing has changed. The same numbers in every process."""
    with _workers() as workers:
        stopped = list(_counted(workers.map(partial(_unchanged, rules), range(pairs)), progress))
    return [
        Alarms("two samples", pairs, sum(one for one, _ in stopped)),
        Alarms("seed by seed", pairs, sum(other for _, other in stopped)),
    ]


def powers(rules: Rules, progress: Progress) -> list[Power]:
    """Judge builds in which every KPI is worse by twice what matters, each KPI as if alone."""
    with _workers() as workers:
        return [power for world in WORLDS for power in _powers(world, workers, rules, progress)]


def _powers(
    world: Mapping[str, Knob], workers: Executor, rules: Rules, progress: Progress
) -> Iterator[Power]:
    factors = _calibrated(world, workers, rules, progress)
    changed = partial(_changed, rules, factors)
    builds = list(_counted(workers.map(changed, range(POWER_BUILDS)), progress))
    for name in world:
        kpi = BY_NAME[name]
        moved = Scale(kpi).change(_mean([build[name][0] for build in builds]))
        yield Power(kpi, moved, len(builds), sum(build[name][1] for build in builds))


def steps(pairs: int) -> int:
    """What ``progress`` of both adds up to."""
    return pairs + len(WORLDS) * (ROUNDS + POWER_BUILDS)


# --------------------------------------------------------------------------- one build


@cache
def _prepared() -> Prepared:
    """What every replication starts from, once a process; the knobs leave it as it is."""
    return prepare(_scenario({}))


@cache
def _scenario_of(overrides: tuple[str, ...]) -> Scenario:
    return load(SCENARIO, list(overrides))


def _scenario(factors: Factors) -> Scenario:
    """The scenario in a world in which these KPIs' knobs are turned by these factors."""
    plain: Any = _scenario_of(()).model_dump()
    overrides = []
    for name, factor in factors.items():
        for path in KNOBS[name].settings:
            value = reduce(getitem, path.split("."), plain)
            scaled = round(value * factor) if isinstance(value, int) else value * factor
            overrides.append(f"{path}={scaled:.9g}")
    return _scenario_of(tuple(overrides))


def _run(factors: Factors, seed: int, replications: int) -> RunRecord:
    """A record of replications with the seeds from ``seed`` on."""
    scenario, units = _scenario(factors), []
    for index in range(replications):
        with quiet_collector():
            units.append(Replication(scenario, seed + index, _prepared()).run())
    return new_record(scenario, "simulated", seed, Plan(scenario, seed, 1).window, units)


def _unchanged(rules: Rules, index: int) -> tuple[bool, bool]:
    """Whether a build without a change is stopped: by two samples, and seed by seed."""
    first = FIRST_SEED + 2 * index * REPLICATIONS
    old, new = (_run({}, seed, REPLICATIONS) for seed in (first, first + REPLICATIONS))
    renumbered = replace(new, seed=old.seed)
    return _stopped(gate([new], [old], rules)), _stopped(gate([renumbered], [old], rules))


def _stopped(verdict: GateVerdict) -> bool:
    return verdict.code == code_of("regressed")


def _changed(rules: Rules, factors: Factors, index: int) -> dict[str, tuple[float, bool]]:
    """How far each KPI has moved in one build, and whether that alone would have stopped it."""
    first = FIRST_SEED + index * POWER_REPLICATIONS
    new, old = (_run(turned, first, POWER_REPLICATIONS) for turned in (factors, {}))
    findings = _findings(new, old)
    return {
        found.kpi.name: (_mean_of(found), _caught(findings, found, rules)) for found in findings
    }


def _findings(new: RunRecord, old: RunRecord) -> list[Finding]:
    return find(Pool([new]), Pool([old]), asked_of(judge(new)))


def _caught(findings: Sequence[Finding], one: Finding, rules: Rules) -> bool:
    """Whether ``one`` is regressed while all others are as they were."""
    alone = [
        found if found is one else replace(found, shift=None, proven=True) for found in findings
    ]
    (change,) = [
        change for change in decide(alone, rules.alpha, rules.least) if change.kpi is one.kpi
    ]
    return change.word == "regressed"


def _mean_of(found: Finding) -> float:
    return found.shift.mean if found.shift is not None else 0.0


# --------------------------------------------------------------------------- known changes


def _calibrated(
    world: Mapping[str, Knob], workers: Executor, rules: Rules, progress: Progress
) -> Factors:
    """Factors under which every KPI is worse by :data:`TIMES` its least change, by bisection.

    All knobs of a world at once, since what one does to the KPI of another has to be made up for.
    """
    harmless = {name: log(knob.harmless) for name, knob in world.items()}
    harmful = {name: log(knob.harmful) for name, knob in world.items()}
    seeds = range(FIRST_SEED, FIRST_SEED + CALIBRATION_SEEDS, _AT_ONCE)
    factors: dict[str, float] = {}
    for _ in range(ROUNDS):
        factors = {name: exp((harmless[name] + harmful[name]) / 2) for name in world}
        parts = list(workers.map(partial(_moved, factors), seeds))
        for name in world:
            found = [one for part in parts for one in part if one.kpi.name == name]
            side = harmful if _enough(found, rules) else harmless
            side[name] = log(factors[name])
        progress(1)
    return factors


def _moved(factors: Factors, first: int) -> list[Finding]:
    """A few replications of the changed world against the plain one."""
    return _findings(_run(factors, first, _AT_ONCE), _plain(first))


@lru_cache(maxsize=CALIBRATION_SEEDS // _AT_ONCE)
def _plain(first: int) -> RunRecord:
    return _run({}, first, _AT_ONCE)


def _enough(found: Sequence[Finding], rules: Rules) -> bool:
    """Whether one KPI is worse by more than is wanted, on average over these findings."""
    kpi, old = found[0].kpi, _mean([one.old or 0.0 for one in found])
    wanted = rules.least[kpi.name]
    low, high = Scale(kpi).bounds(replace(wanted, amount=wanted.amount * TIMES), old)
    moved = _mean([_mean_of(one) for one in found])
    return moved > high if kpi.better == "lower" else moved < low


# --------------------------------------------------------------------------- processes


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)


def _workers() -> Executor:
    """A process a processor; started afresh, since a copy of a process with threads may hang."""
    return ProcessPoolExecutor(mp_context=get_context("spawn"))


def _counted(results: Iterable[R], progress: Progress) -> Iterator[R]:
    for result in results:
        progress(1)
        yield result
