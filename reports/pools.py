"""Runs of one scenario in one world, judged together as one.

The unit of replication is what varies from one run to the next: a replication of a simulation, or
a whole run in real time. Blocks of a single run know nothing of the drift between runs, and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from reports.fingerprint import setting_differences, version_differences
from reports.record import ENDINGS, Kind, RunRecord, Unit


class PoolError(Exception):
    """Runs that cannot be judged together; the message says which and why."""


class PooledRuns(RunRecord):
    """A record whose units are whole runs in real time."""

    @property
    def unit_word(self) -> str:
        return "runs"


class Pool:
    """One or several records of the same scenario, settings and world.

    ``record`` is all of them as one, for the limits; ``units`` what they are compared by, with the
    seed of each (simulated) or its place in the order given (real time). ``single`` tells that it
    is one run in real time, whose units are its blocks.
    """

    def __init__(self, records: Sequence[RunRecord]) -> None:
        """Raises :class:`PoolError` if one is there twice or was asked another question."""
        self.records = tuple(records)
        first = records[0]
        self.scenario, self.kind = first.scenario, first.kind
        for one, other in combinations(records, 2):
            _refuse_strangers(one, other)
        self.single = len(records) == 1 and self.kind != "simulated"
        self.record = first if len(records) == 1 else _pooled(records)
        if self.kind == "simulated":
            seeds = [seed for record in records for seed in record.seeds]
            self.units = dict(zip(seeds, self.record.units, strict=True))
        else:
            self.units = dict(enumerate(self.record.units))

    @property
    def name(self) -> str:
        """Scenario and world, as it is spoken of."""
        return f"{self.scenario} ({self.kind})"

    @property
    def unusable(self) -> list[str]:
        """Why its runs say nothing of the system, if they do not."""
        reasons = [[record.wrong_input, *record.invalid] for record in self.records]
        return [reason for of_one in reasons for reason in of_one if reason]

    @property
    def no_baseline(self) -> list[str]:
        """Why nothing is to be compared with these runs; empty if it may."""
        return [*self.unusable, *self.broken_off]

    @property
    def broken_off(self) -> list[str]:
        """Why runs ended before their time, of those that did."""
        return [record.stopped_itself for record in self.records if record.stopped_itself]

    @property
    def runs(self) -> list[Unit]:
        """Each run in real time as one unit, in the order given."""
        return [_one_unit(record) for record in self.records]

    def describe(self) -> str:
        """What it consists of, for example ``20 replications, seeds 1 to 20``."""
        if self.kind == "simulated":
            seeds = sorted(self.units)
            if len(seeds) == 1:
                return f"1 replication, seed {seeds[0]}"
            return f"{len(seeds)} replications, seeds {seeds[0]} to {seeds[-1]}" if seeds else ""
        if self.single:
            return f"1 run of {len(self.units)} blocks"
        return f"{len(self.units)} runs"


def pools_of(records: Iterable[RunRecord]) -> list[Pool]:
    """Records sorted into pools by scenario and world, in the order of their first appearance."""
    found: dict[tuple[str, Kind], list[RunRecord]] = {}
    for record in records:
        found.setdefault((record.scenario, record.kind), []).append(record)
    return [Pool(together) for together in found.values()]


def _refuse_strangers(one: RunRecord, other: RunRecord) -> None:
    name = f"{one.scenario} ({one.kind})"
    if one == other:
        raise PoolError(f"{name}: the same run is given twice")
    if differences := setting_differences(one, other):
        raise PoolError(f"{name}: these runs were asked different questions: {differences[0]}")
    if differences := version_differences(one, other):
        raise PoolError(f"{name}: these runs are not of one make: {differences[0]}")
    if one.kind == "simulated" and (both := set(one.seeds) & set(other.seeds)):
        raise PoolError(f"{name}: seed {min(both)} is given twice")


def _pooled(records: Sequence[RunRecord]) -> RunRecord:
    """All records as one; of runs in real time, each becomes one unit."""
    simulated = records[0].kind == "simulated"
    kind = RunRecord if simulated else PooledRuns
    whole = kind(**{name: getattr(records[0], name) for name in _FIELDS})
    whole.limits = dict(records[0].limits)
    whole.provenance = _provenance(records)
    whole.invalid = [reason for record in records for reason in record.invalid]
    if simulated:
        whole.units = [unit for record in records for unit in record.units]
    else:
        whole.units = [_one_unit(record) for record in records]
    return whole


def _provenance(records: Sequence[RunRecord]) -> dict[str, str | int | float]:
    """That of the first, and why any of them ended itself."""
    whole = dict(records[0].provenance)
    for record in records:
        whole.update({key: record.provenance[key] for key in ENDINGS if key in record.provenance})
    return whole


_FIELDS = tuple(RunRecord.__dataclass_fields__)


def _one_unit(record: RunRecord) -> Unit:
    """A whole run as one unit."""
    names = sorted({name for unit in record.units for name in {*unit.series, *unit.failed}})
    pooled = {name: record.pooled(name) for name in names}
    memory = [u.memory_max_bytes for u in record.units if u.memory_max_bytes is not None]
    return Unit(
        {name: histogram for name, (histogram, _) in pooled.items() if histogram.count},
        {name: failed for name, (_, failed) in pooled.items() if failed},
        record.counts(""),
        max(memory, default=None),
    )
