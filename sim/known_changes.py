"""Worlds in which KPIs are worse by a known amount, for the gate's self-test.

Each KPI has a knob: settings whose scaling makes it worse. How far a knob has to be turned is found
by trying, all knobs of a world at once, since what one does to the KPI of another has to be made
up for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, reduce
from operator import getitem
from typing import Any, NamedTuple

from reports.changes import Finding, asked_of, find
from reports.effects import MinEffect, Scale
from reports.kpis import BY_NAME, Kpi
from reports.pools import Pool
from reports.record import RunRecord, Unit
from reports.verdict import judge
from scenarios.loader import load
from scenarios.plan import Plan
from scenarios.record import new_record
from scenarios.schema import Scenario
from sim.prepare import Prepared, prepare
from sim.simulate import Replication, quiet_collector

SCENARIO = "smoke/tiny"
FIRST_SEED = 1_000_000

TIMES = 2
"""The known change of each KPI, in least changes that matter."""

SEEDS = 20
"""Replications that each try of the knobs rests on."""

TRIES = 4
NEAR = 0.05
"""A world is right if no KPI's change misses what is wanted by more than this share of it."""

MOST_REPLICATIONS = (1 + TRIES) * SEEDS
"""What turning the knobs of one world takes at most."""


class NothingToCatch(Exception):
    """A least change of nothing, of which no multiple is a change; the message says of what."""


class Knob(NamedTuple):
    """Settings that make one KPI worse when they are multiplied by a factor, or ``divided`` by it.

    From ``harmless`` to ``harmful``: the factor up to which next to nothing happens, and one that
    is more than enough.
    """

    settings: tuple[str, ...]
    harmful: float = 1.5
    harmless: float = 1.0
    divided: bool = False

    def turned(self, value: float, factor: float) -> float:
        """A setting's value when the knob is turned by ``factor``; whole if it was whole."""
        scaled = value / factor if self.divided else value * factor
        return round(scaled) if isinstance(value, int) else scaled


Settings = tuple[str, ...]
"""What is set in a scenario, ``path=value`` each."""

PLAIN: Settings = ("measure.warmup_s=0.5",)
"""Nothing is worse. A start as a long run would have left it needs no long warm-up, for which
thousands of replications would pay."""


class World(NamedTuple):
    """The knobs of some KPIs, and what is set besides, with a change or without."""

    knobs: Mapping[str, Knob]
    settings: Settings = PLAIN


def _laws(*settings: str) -> tuple[str, ...]:
    return tuple(f"{setting}.{end}" for setting in settings for end in ("p50", "p99"))


SLOWER = World(
    {
        "tracking_latency_p95": Knob(_laws("client.rtt_ms")),
        "attribution_latency_p95": Knob(
            _laws(*(f"kv.read_{tier}_ms" for tier in ("memory", "node", "regional", "central")))
        ),
        "d1_query_p95": Knob(
            (*_laws("d1.commit_ms", "d1.request_overhead_ms"), "d1.same_region_rtt_ms")
        ),
        "worker_memory_max": Knob(("edge.base_memory_mib",)),
        "worker_cpu_p95": Knob(_laws("edge.cpu_ms")),
    }
)
"""Everything on a request's way takes longer, so that one that waited for another still does: with
a part of it slower, caches fill in another order, and a P95 between two tiers jumps."""

RARER = World(
    {
        "cache_hit_ratio": Knob(("kv.expiration_ttl_s.attribution",), 60, divided=True),
        "error_ratio": Knob(("client.timeout_s",), 60, 20, divided=True),
    }
)
"""What few requests meet. Apart from the others: a cache that forgets moves the look-ups' P95."""

QUEUED = World(
    {"queue_processing_p95": Knob(_laws("kv.write_ms"))},
    (*PLAIN, "workload.tracking.attributed_share=0.05", "queue.batch_size=2"),
)
"""Apart from the others, since delays on a request's way rearrange the batches; and with five times
as many of them, of which one in ten still writes KV. Otherwise that is some nine of a hundred, and
P95, the sixth largest, lies near the edge of those nine: a batch more or less in the window moves
it by a tenth, or to the other side, where batches take a few milliseconds."""

WORLDS = (RARER, QUEUED, SLOWER)

_SOURCES = {kpi.source for kpi in BY_NAME.values()}


# --------------------------------------------------------------------------- running


@cache
def _prepared() -> Prepared:
    """What every replication starts from, once a process; no world changes it."""
    return prepare(scenario_of(PLAIN))


@cache
def scenario_of(settings: Settings) -> Scenario:
    """The scenario with these settings."""
    return load(SCENARIO, list(settings))


def turned(world: World, factors: Mapping[str, float]) -> Settings:
    """What is set in a world when these KPIs' knobs are turned by these factors."""
    plain: Any = scenario_of(world.settings).model_dump()
    overrides = list(world.settings)
    for name, factor in factors.items():
        knob = world.knobs[name]
        for path in knob.settings:
            value = reduce(getitem, path.split("."), plain)
            overrides.append(f"{path}={knob.turned(value, factor):.9g}")
    return tuple(overrides)


def run(settings: Settings, seed: int) -> Unit:
    """One replication; only what KPIs are read from is kept, which is a third of it."""
    with quiet_collector():
        unit = Replication(scenario_of(settings), seed, _prepared()).run()
    series = {name: samples for name, samples in unit.series.items() if name in _SOURCES}
    return replace(unit, series=series)


def record_of(settings: Settings, seed: int, units: Sequence[Unit]) -> RunRecord:
    """The record of replications with the seeds from ``seed`` on."""
    scenario = scenario_of(settings)
    return new_record(scenario, "simulated", seed, Plan(scenario, seed, 1).window, list(units))


def runs(settings: Settings, seeds: range) -> RunRecord:
    """A record of new replications with these seeds."""
    return record_of(settings, seeds.start, [run(settings, seed) for seed in seeds])


def findings(new: RunRecord, old: RunRecord) -> list[Finding]:
    """What the gate finds of each KPI, before it weighs them together."""
    return find(Pool([new]), Pool([old]), asked_of(judge(new)))


def change_of(found: Finding) -> float:
    """How far a KPI has moved, as a share of what it was (a ratio: as a difference)."""
    return Scale(found.kpi).change(found.shift.mean) if found.shift is not None else 0.0


# --------------------------------------------------------------------------- turning knobs


def calibrated(world: World, least: Mapping[str, MinEffect]) -> Settings:
    """The world in which each of its KPIs is worse by :data:`TIMES` its least change, if its knob
    can do that; else the knob is turned all the way. Raises :class:`NothingToCatch`."""
    seeds = range(FIRST_SEED, FIRST_SEED + SEEDS)
    plain = runs(world.settings, seeds)
    searches = {name: _Search(knob) for name, knob in world.knobs.items()}
    for _ in range(TRIES):
        settings = turned(world, {name: search.factor for name, search in searches.items()})
        errors = {
            found.kpi.name: change_of(found) / wanted(found.kpi, found.old or 0.0, least) - 1
            for found in findings(runs(settings, seeds), plain)
            if found.kpi.name in searches
        }
        if all(abs(error) <= NEAR for error in errors.values()):
            break
        for name, error in errors.items():
            searches[name].learn(error)
    return turned(world, {name: search.factor for name, search in searches.items()})


def wanted(kpi: Kpi, old: float, least: Mapping[str, MinEffect]) -> float:
    """The known change of a KPI whose value was ``old``.

    Raises :class:`NothingToCatch` for none, as a share of no errors is.
    """
    effect, scale = least[kpi.name], Scale(kpi)
    down, up = scale.bounds(replace(effect, amount=effect.amount * TIMES), old)
    change = scale.change(up if kpi.better == "lower" else down)
    if not change:
        raise NothingToCatch(
            f"{kpi.name}: {TIMES} times a least change of {effect.text(kpi)} is no change; "
            "give it another --min-effect"
        )
    return change


class _Search:
    """Regula falsi for one knob: ``factor`` is what to try next, at first all the way.

    By the Illinois rule (Dowell and Jarratt 1971): an end of the bracket that stays for a second
    time counts half, since on a curve it would stay for ever.
    """

    def __init__(self, knob: Knob) -> None:
        self.factor = knob.harmful
        self._ends = {False: (knob.harmless, -1.0)}
        self._last: bool | None = None

    def learn(self, error: float) -> None:
        """What came of ``factor``: the share that is missing (below 0) or too much."""
        over = error > 0
        other = self._ends.get(not over)
        if other is None:
            return  # turned all the way, and not enough
        if over == self._last:
            other = (other[0], other[1] / 2)
        self._ends = {over: (self.factor, error), not over: other}
        self._last = over
        (one, its), (two, theirs) = self._ends.values()
        self.factor = one - its * (two - one) / (theirs - its)
