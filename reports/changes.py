"""What has become of each KPI since the baseline: regressed, improved, unchanged, or not known.

"Regressed" needs three things at once: the estimated change is at least the smallest that matters,
its interval excludes zero, and it does so at the level that Holm's procedure leaves to it among all
KPIs of the build. "Unchanged" is proven where every sample is equal, and otherwise says that a
worsening that matters is excluded with 95 % confidence. Everything else is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

from reports import wording
from reports.design import Design, design
from reports.effects import MinEffect, Scale, interval_text
from reports.intervals import CONFIDENCE, Estimate
from reports.kpis import Kpi
from reports.pools import Pool
from reports.readings import NoValue, read, read_unit, same_samples, samples_of
from reports.shifts import MOST_UNITS, Shift, holm, independent, paired
from reports.stability import UNSTABLE
from reports.verdict import Verdict

ChangeWord = Literal["regressed", "no-data", "inconclusive", "improved", "unchanged"]

SPENT = 0.5
"""The part of alpha that the tests use. The rest is kept for what Student's law gets wrong in the
tails of percentiles of few units; the self-test measures whether that is enough."""

FEWEST_RUNS = 10
"""Runs in real time that a baseline should have: drift is what most of its spread comes from."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What two pools say of one KPI, before all KPIs are weighed together.

    ``shift`` is ``None`` where nothing could be estimated; then ``reason`` says why. ``proven``:
    every sample is equal.
    """

    kpi: Kpi
    new: float | None
    old: float | None
    method: str
    counts: bool
    shift: Shift | None = None
    resting: ChangeWord = "inconclusive"
    reason: str = ""
    proven: bool = False
    within_run: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One KPI against its baseline, in words and numbers.

    ``change`` is a share of the old value (0.05 is 5 % more) or, for a ratio, a difference, and so
    is ``least``, the smallest that matters;
    ``interval`` holds it with 95 %, ``strict`` at ``level``, which is what a regression is judged
    by. ``more`` is how many units a side would decide, if that can be said. ``undecided`` tells
    that only more data is missing.
    """

    kpi: Kpi
    word: ChangeWord
    text: str
    counts: bool
    method: str = ""
    new: float | None = None
    old: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    strict: tuple[float, float] | None = None
    level: float | None = None
    min_effect: str = ""
    least: float = 0.0
    proven: bool = False
    more: int | None = None
    undecided: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values; ends and values that do not exist are null."""
        return {
            "word": self.word,
            "baseline": _rounded(self.old),
            "change": _rounded(self.change),
            "interval": _ends(self.interval),
            "strict_interval": _ends(self.strict),
            "level": _rounded(self.level),
            "min_effect": self.min_effect,
            "method": self.method,
            "units_needed": self.more,
            "text": self.text,
        }


Asked = Sequence[tuple[Kpi, bool]]
"""The KPIs of a run, and whether each counts."""


def asked_of(verdict: Verdict) -> Asked:
    """The KPIs that a verdict judges."""
    return [(result.kpi, result.counts) for result in verdict.kpis]


def find(new: Pool, old: Pool, asked: Asked) -> list[Finding]:
    """Compare these KPIs of two pools."""
    chosen = design(new, old)
    return [_find(new, old, chosen, kpi, counts) for kpi, counts in asked]


def decide(
    findings: Sequence[Finding], alpha: float, least: Mapping[str, MinEffect]
) -> list[Change]:
    """The word of each KPI, all of a build weighed together, in the order given."""
    tested = [index for index, found in enumerate(findings) if compared(found)]
    p_values = [_p_value(findings[index]) for index in tested]
    levels = dict(zip(tested, holm(p_values, alpha * SPENT), strict=True))
    return [
        _change(found, levels.get(index, alpha * SPENT), least[found.kpi.name])
        for index, found in enumerate(findings)
    ]


def compared(found: Finding) -> bool:
    """Whether the finding is one of those that share the build's alpha."""
    return found.counts and (found.proven or found.shift is not None)


def none_compared(asked: Asked, reason: str) -> list[Change]:
    """All KPIs of a run that has nothing to be compared with, and why."""
    return [Change(kpi, "inconclusive", reason, counts) for kpi, counts in asked]


# --------------------------------------------------------------------------- finding


def _find(new: Pool, old: Pool, chosen: Design, kpi: Kpi, counts: bool) -> Finding:
    ours, theirs = read(new.record, kpi), read(old.record, kpi)
    found = Finding(kpi, ours.value, theirs.value, chosen.method, counts)
    if not ours.samples:
        return replace(found, resting="no-data", reason=f"{ours.method}: {kpi.needs}")
    if not theirs.samples:
        return replace(found, reason=f"the baseline did not measure it ({theirs.method})")
    for whose, estimate in (("here", ours), ("in the baseline", theirs)):
        if estimate.value is None:
            return replace(found, reason=f"there is no value {whose}: {_why_none(estimate)}")
    if chosen.proves and all(same_samples(one, other, kpi) for one, other in chosen.pairs()):
        return replace(found, proven=True)
    scale = Scale(kpi)
    try:
        values, before = (
            [scale.of(read_unit(unit, kpi)) for unit in side] for side in chosen.sides
        )
    except NoValue as missing:
        return replace(found, reason=f"one of the {chosen.unit_word} has {missing}")
    resolution = scale.resolution(min(samples_of(unit, kpi) for unit in chain(*chosen.sides)))
    shift = (paired if chosen.paired else independent)(values, before, resolution)
    return replace(found, shift=shift, within_run=chosen.within_run)


def _why_none(estimate: Estimate) -> str:
    if estimate.method.startswith(UNSTABLE):
        return estimate.method
    return f"{estimate.failed} of {estimate.samples} samples failed"


# --------------------------------------------------------------------------- deciding


def _p_value(found: Finding) -> float:
    return 1.0 if found.shift is None or found.within_run else found.shift.p_value()


def _change(found: Finding, level: float, least: MinEffect) -> Change:
    kpi, shift, scale = found.kpi, found.shift, Scale(found.kpi)
    told = Change(
        kpi,
        found.resting,
        found.reason,
        found.counts,
        found.method,
        found.new,
        found.old,
        min_effect=least.text(kpi),
        least=scale.change(scale.bounds(least, found.old or 0.0)[1]),
    )
    if found.proven:
        text = f"every sample is equal, {found.method}: proven"
        same = replace(told, word="unchanged", text=text, proven=True)
        return replace(same, change=0.0, interval=(0.0, 0.0))
    if shift is None:
        return told
    bounds = scale.bounds(least, found.old or 0.0)
    word, distance, at = _weigh(kpi, shift, bounds, level)
    if found.within_run:
        word = "inconclusive"
    more = shift.units_needed(at, distance) if word == "inconclusive" and distance > 0 else None
    wide, strict = shift.interval(1 - CONFIDENCE), shift.interval(level)
    told = replace(
        told,
        word=word,
        change=scale.change(shift.mean),
        interval=(scale.change(wide[0]), scale.change(wide[1])),
        strict=(scale.change(strict[0]), scale.change(strict[1])),
        level=level,
        more=None if found.within_run else more,
        undecided=word == "inconclusive",
    )
    return replace(told, text=_text(told, found))


def _weigh(
    kpi: Kpi, shift: Shift, bounds: tuple[float, float], level: float
) -> tuple[ChangeWord, float, float]:
    """The word; and, for one that is not known, how small half the interval of which level has to
    become for it to be known.

    Worse is counted upwards, whichever way is good.
    """
    sign = 1 if kpi.better == "lower" else -1
    mean = sign * shift.mean
    worse, better = (bounds[1], -bounds[0]) if sign == 1 else (-bounds[0], bounds[1])
    surely_not_zero = shift.p_value() <= level
    if surely_not_zero and mean > 0 and mean >= worse:
        return "regressed", 0.0, level
    if surely_not_zero and mean < 0 and -mean >= better:
        return "improved", 0.0, level
    ends = [sign * end for end in shift.interval(1 - CONFIDENCE)]
    if max(ends) < worse or (not worse and max(ends) <= 0):
        return "unchanged", 0.0, level
    if mean >= worse:
        return "inconclusive", mean, level
    return "inconclusive", worse - mean, 1 - CONFIDENCE


def _text(told: Change, found: Finding) -> str:
    """The change in a sentence, with what would decide it if it is not known."""
    kpi, scale = told.kpi, Scale(told.kpi)
    assert told.change is not None
    assert told.interval is not None
    assert told.strict is not None
    assert told.level is not None
    ends = told.strict if told.word in ("regressed", "improved") else told.interval
    size = f"{scale.text(told.change)} {interval_text(scale, ends)}".rstrip()
    since = f"{size} from {wording.quantity(told.old, kpi.unit)}, {told.method}"
    if told.word in ("regressed", "improved"):
        return f"{since}; excludes zero at {1 - told.level:.3%}, least change {told.min_effect}"
    if told.word == "unchanged":
        return f"{since}; worse by {told.min_effect} is excluded"
    if found.within_run:
        return (
            f"{since}; within-run only: one run a side cannot tell a change from drift between "
            f"runs, judge 2 runs or more against a baseline of {FEWEST_RUNS}"
        )
    return f"{since}; {_advice(told, found)}"


def _advice(told: Change, found: Finding) -> str:
    """How many units a side would decide; the last word of the method says what they are."""
    assert found.shift is not None
    word = "runs" if "runs" in found.method else "replications"
    open_question = f"neither a change nor its absence is shown (least change {told.min_effect})"
    if not found.shift.freedom:
        return f"{open_question}; one a side says nothing of the spread, 2 {word} at least"
    if told.more is None:
        return f"{open_question}; over {MOST_UNITS:,} {word} a side would be needed"
    option = f" (--replications {told.more})" if word == "replications" else ""
    return f"{open_question}; about {told.more} {word} a side would decide{option}"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 8)


def _ends(interval: tuple[float, float] | None) -> list[float | None] | None:
    return interval and [_rounded(end) for end in interval]
