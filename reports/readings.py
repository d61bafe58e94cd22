"""Read one KPI from a record: its value and interval, in the KPI's unit."""

from __future__ import annotations

import math

from reference_impl.profiling.hdr import Histogram
from reports import intervals
from reports.intervals import Estimate, Sample, Share, nothing
from reports.kpis import STALENESS, UNKNOWN_AGE, Kpi
from reports.record import RunRecord, Unit
from reports.stability import UNSTABLE, in_words, unstable

US_PER_MS = 1e3
US_PER = {"ms": US_PER_MS, "s": 1e6}
BYTES_PER_MIB = 2.0**20


class NoValue(Exception):
    """One unit has no value of a KPI; the message says why."""


def read(record: RunRecord, kpi: Kpi) -> Estimate:
    """What the record says about a KPI; an estimate of no samples says why there is none."""
    if kpi.statistic == "maximum":
        return _maximum(record, kpi)
    if kpi.statistic == "ratio":
        return _ratio(record, kpi)
    return _percentile(record, kpi)


def _percentile(record: RunRecord, kpi: Kpi) -> Estimate:
    units = [_sample(unit, kpi) for unit in record.units]
    samples = sum(unit.size for unit in units)
    if samples and not kpi.zero_is_data and not any(unit.histogram.sum_us for unit in units):
        return nothing("every sample is 0, its timers were frozen")
    fresh = _answers_of_known_age(record) if kpi is STALENESS and not samples else 0
    if (samples or fresh) and (growing := unstable(record, kpi.source)):
        failed = sum(unit.failed for unit in units)
        return Estimate(None, None, samples or fresh, failed, f"{UNSTABLE}: {in_words(growing)}")
    if fresh:
        return Estimate(0.0, (0.0, 0.0), fresh, 0, "no answer was stale")
    found = intervals.percentile(units, kpi.p, record.unit_word, wider=_in_real_time(record))
    return found.scaled(1 / US_PER[kpi.unit])


def _answers_of_known_age(record: RunRecord) -> int:
    """Answers to look-ups in a world that notes the age of each that is stale; none of them where
    some did not tell."""
    known = record.kind == "simulated" and not record.count(UNKNOWN_AGE)
    return record.count("requests.attribution") if known else 0


def _ratio(record: RunRecord, kpi: Kpi) -> Estimate:
    units = [_share(unit, kpi) for unit in record.units]
    total = sum(unit.total for unit in units)
    if total and record.count(f"{kpi.source}.unknown") == total:
        return nothing(f"none of {total} samples told what it was")
    if kpi.by_value:
        return intervals.clopper_pearson(sum(unit.part for unit in units), total)
    return intervals.ratio(units, record.unit_word, wider=_in_real_time(record))


def _maximum(record: RunRecord, kpi: Kpi) -> Estimate:
    """The largest of all units; the "interval" is simply the smallest and largest unit."""
    seen = [unit.memory_max_bytes for unit in record.units if unit.memory_max_bytes is not None]
    if not seen:
        return nothing("nothing reported it")
    ends = (float(min(seen)), float(max(seen))) if len(seen) > 1 else None
    samples = max(record.count(kpi.source), len(seen))
    found = Estimate(ends[1] if ends else float(seen[0]), ends, samples, 0, "largest of the run")
    return found.scaled(1 / BYTES_PER_MIB)


def read_unit(unit: Unit, kpi: Kpi) -> float:
    """The KPI of one replication, block or run alone, in its unit.

    Raises :class:`NoValue` where there is none that could be compared with another.
    """
    if kpi.statistic == "maximum":
        if unit.memory_max_bytes is None:
            raise NoValue("nothing reported it")
        return unit.memory_max_bytes / BYTES_PER_MIB
    if kpi.statistic == "ratio":
        share = _share(unit, kpi)
        if not share.total:
            raise NoValue("no samples")
        return share.part / share.total
    sample = _sample(unit, kpi)
    if sample.size < (fewest := fewest_compared(kpi.p)):
        raise NoValue(f"{sample.size} samples of it, {fewest} are needed")
    value = sample.percentile(kpi.p)
    if value is None:
        raise NoValue(f"over {(1 - kpi.p) * 100:g} % of its samples failed")
    return value / US_PER[kpi.unit]


def fewest_compared(p: float) -> int:
    """The fewest samples of one unit whose percentile is compared: that of fewer is the maximum."""
    return math.ceil(round(1 / (1 - p), 6))


def samples_of(unit: Unit, kpi: Kpi) -> int:
    """How many samples one unit has of a KPI."""
    if kpi.statistic == "maximum":
        return int(unit.memory_max_bytes is not None)
    return _share(unit, kpi).total if kpi.statistic == "ratio" else _sample(unit, kpi).size


def same_samples(one: Unit, other: Unit, kpi: Kpi) -> bool:
    """Whether all that the KPI is read from is equal in both: every counter, not the value only."""
    if kpi.statistic == "maximum":
        return one.memory_max_bytes == other.memory_max_bytes
    if kpi.statistic == "ratio":
        return _share(one, kpi) == _share(other, kpi)
    return _sample(one, kpi) == _sample(other, kpi)


def _sample(unit: Unit, kpi: Kpi) -> Sample:
    return Sample(unit.series.get(kpi.source) or Histogram(), unit.failed.get(kpi.source, 0))


def _share(unit: Unit, kpi: Kpi) -> Share:
    counts = unit.counts
    return Share(counts.get(f"{kpi.source}.part", 0), counts.get(f"{kpi.source}.total", 0))


def _in_real_time(record: RunRecord) -> bool:
    return record.kind != "simulated"
