"""How sure a percentile or a ratio is: a 95 % confidence interval around it.

Two sources of doubt, two methods. Requests of one run vary: order statistics of the pooled samples
(a percentile), Clopper and Pearson (a ratio), both exact for independent samples and both free of
any assumed distribution. Runs vary from one to the next, and neighbours in one run are not
independent: Student's t over the values of the units (replications or blocks). Failed samples have
no value; they rank above all that have one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scipy import special

from reference_impl.profiling.hdr import Histogram, rank_of

CONFIDENCE = 0.95
MIN_SAMPLES = 90
"""The fewest samples whose P95 is judged: 90 below the limit show P95 at 99 % (0.95**90 < 0.01)."""


def least_samples(p: float) -> int:
    """The fewest samples whose percentile ``p`` is judged, by the rule of :data:`MIN_SAMPLES`."""
    return math.ceil(math.log(0.01) / math.log(p))


_TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, in the unit of the samples; ``method`` says how, in words.

    ``value`` is ``None`` if there is none: no samples, or the rank falls among the failed ones;
    then there is no interval either. Its upper end is infinite if only the upper rank falls there.
    ``repeats`` is how many units the interval rests on; 1 stands for the samples themselves.
    """

    value: float | None
    interval: tuple[float, float] | None
    samples: int
    failed: int
    method: str
    repeats: int = 1

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit."""
        ends = self.interval and (self.interval[0] * factor, self.interval[1] * factor)
        value = None if self.value is None else self.value * factor
        return replace(self, value=value, interval=ends)


def nothing(reason: str) -> Estimate:
    """No evidence at all, and why."""
    return Estimate(None, None, 0, 0, reason)


class Sample(NamedTuple):
    """One unit's share of a series: the samples with a value, and how many failed."""

    histogram: Histogram
    failed: int

    @property
    def size(self) -> int:
        return self.histogram.count + self.failed

    def percentile(self, p: float) -> int | None:
        """The sample of rank ceil(p n) among all, ``None`` if it failed or nothing was counted."""
        return self.at_rank(rank_of(p, self.size)) if self.size else None

    def at_rank(self, rank: int) -> int | None:
        return self.histogram.value_at_rank(rank) if rank <= self.histogram.count else None


class Share(NamedTuple):
    """One unit's share of a ratio: how many of the total had the property."""

    part: int
    total: int


def percentile(units: Sequence[Sample], p: float, unit_word: str, *, wider: bool) -> Estimate:
    """The pooled percentile with its interval.

    With two units or more of at least :func:`least_samples` each, t over the units; else order
    statistics.
    ``wider`` (a run in real time, whose blocks are neighbours) takes the wider of both.
    ``unit_word`` names a unit in ``method``: "replications" or "blocks".
    """
    exact = order_statistics(_pool(units), p)
    values = [unit.percentile(p) for unit in units if unit.size >= least_samples(p)]
    known = [float(value) for value in values if value is not None]
    return _choose(exact, known, len(units), unit_word, wider, most=math.inf)


def ratio(units: Sequence[Share], unit_word: str, *, wider: bool) -> Estimate:
    """The pooled ratio with its interval; the same choice of method as :func:`percentile`."""
    exact = clopper_pearson(sum(unit.part for unit in units), sum(unit.total for unit in units))
    known = [unit.part / unit.total for unit in units if unit.total >= MIN_SAMPLES]
    return _choose(exact, known, len(units), unit_word, wider, most=1.0)


def order_statistics(sample: Sample, p: float) -> Estimate:
    """Interval between two ranks: the number of samples below the true percentile is binomial."""
    n = sample.size
    if not n:
        return nothing("no samples")
    method = "order statistics of all samples"
    value = sample.percentile(p)
    low = sample.at_rank(max(binomial_quantile(_TAIL, n, p), 1))
    if value is None or low is None:
        return Estimate(None, None, n, sample.failed, method)
    high = sample.at_rank(binomial_quantile(1 - _TAIL, n, p) + 1)
    ends = (float(low), math.inf if high is None else float(high))
    return Estimate(float(value), ends, n, sample.failed, method)


def clopper_pearson(part: int, total: int) -> Estimate:
    """The ratio of all samples, with its exact binomial interval."""
    if not total:
        return nothing("no samples")
    ends = binomial_bounds(part, total, _TAIL)
    return Estimate(part / total, ends, total, 0, "Clopper-Pearson of all samples")


def binomial_bounds(part: int, total: int, tail: float) -> tuple[float, float]:
    """Where the true share of ``part`` of ``total`` lies, missed by ``tail`` on either side.

    Exact (Clopper and Pearson 1934, by beta quantiles). Raises ``ValueError`` for a total of 0.
    """
    if not total:
        raise ValueError("a share of nothing")
    rest = total - part
    low = float(special.betaincinv(part, rest + 1, tail)) if part else 0.0
    high = float(special.betaincinv(part + 1, rest, 1 - tail)) if rest else 1.0
    return low, high


def binomial_quantile(q: float, n: int, p: float) -> int:
    """The smallest k with P(B <= k) >= q for B binomial(n, p), 0 < q < 1."""
    k = max(math.ceil(float(special.bdtrik(q, n, p))), 0)
    return k - 1 if k and special.bdtr(k - 1, n, p) >= q else k


def student_half_width(values: Sequence[float]) -> float:
    """Half the 95 % interval of a mean of k >= 2 values: t s / sqrt(k), k - 1 degrees."""
    k = len(values)
    mean = math.fsum(values) / k
    variance = math.fsum((value - mean) ** 2 for value in values) / (k - 1)
    return _student_t(k) * math.sqrt(variance / k)


def repeats_needed(half_width: float, repeats: int, distance: float, most: int) -> int | None:
    """How many units in all would narrow a t interval below ``distance``, if their spread stays.

    ``half_width`` is that of ``repeats`` units now; ``None`` if even ``most`` would not do.
    """
    spread = half_width * math.sqrt(repeats) / _student_t(repeats)
    totals = range(repeats + 1, most + 1)
    return next((k for k in totals if _student_t(k) * spread / math.sqrt(k) < distance), None)


def _student_t(k: int) -> float:
    """The two-sided 95 % quantile of Student's t for ``k`` values (k - 1 degrees of freedom)."""
    return float(special.stdtrit(k - 1, 1 - _TAIL))


def _pool(units: Sequence[Sample]) -> Sample:
    whole = Histogram()
    for unit in units:
        whole.add(unit.histogram)
    return Sample(whole, sum(unit.failed for unit in units))


def _choose(
    exact: Estimate,
    values: Sequence[float],
    units: int,
    unit_word: str,
    wider: bool,
    most: float,
) -> Estimate:
    """t over the units' values if each has one, unless the exact interval is to win by width."""
    if exact.value is None or exact.interval is None or not 2 <= len(values) == units:
        return exact
    half = student_half_width(values)
    ends = (max(exact.value - half, 0.0), min(exact.value + half, most))
    if wider and exact.interval[1] - exact.interval[0] > ends[1] - ends[0]:
        return exact
    method = f"{units} {unit_word}, Student t"
    return replace(exact, interval=ends, method=method, repeats=units)
