"""From a record to a verdict: each KPI its word, the run its word and its exit code.

Nothing passes on no evidence. A KPI that was not measured is "no-data"; one whose interval crosses
the target is "inconclusive" and says how much more would decide it. How a word is found, in order:

1. nothing measured it: no-data;
2. over 5 % of a latency's samples failed, or it waits for a simulated part that was asked for more
   work than it can do (:mod:`reports.stability`): its value is "none", and it is on alert;
3. fewer than 90 samples of a P95 (459 of a P99): inconclusive;
4. the interval lies wholly on the good side of the target: pass;
5. wholly on the bad side: alert if the value itself is beyond the alert limit, else missed;
6. it crosses the target: inconclusive.

A run in which a part was asked for more than it can do is on alert, whatever its KPIs show: work
piles up there, be it where no KPI waits for it.

A load test may end itself: ``wrong_input`` and ``stopped_itself`` among its provenance say why, and
give the run its word (wrong input, alert) whatever its KPIs show.

Two KPIs are judged by the value alone. Memory is a maximum: what was seen was there, whatever was
not. The error ratio has a target (0.001) so low that no short run could show it with confidence;
a run with no more errors than allowed passes it, and it never stands for the latencies, which need
their own samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reports import wording
from reports.intervals import Estimate, least_samples, repeats_needed
from reports.kpis import CATALOGUE, ERROR_RATIO, STALENESS, Basis, Kpi
from reports.readings import read
from reports.record import Kind, RunRecord
from reports.stability import UNSTABLE, Load, advice, in_words, overloaded, unstable

Word = Literal[
    "wrong input", "not valid", "alert", "missed", "no-data", "inconclusive", "pass"
]  # fmt: skip

CODES: dict[Word, int] = {
    "wrong input": 23,
    "not valid": 22,
    "alert": 20,
    "missed": 20,
    "no-data": 21,
    "inconclusive": 21,
    "pass": 0,
}
"""Exit code of each word, the worst first."""

UNUSABLE: frozenset[Word] = frozenset({"wrong input", "not valid"})
"""Words of a run that says nothing of the system: none of its KPIs is judged."""

SEE_FAILURES = "see the failures by reason in the report"

_SEVERITY = {word: rank for rank, word in enumerate(CODES)}
_DECIMALS = {"ratio": 6, "ms": 3, "s": 3, "MiB": 3}
_HOPELESS = 100  # times the samples: beyond it, the value sits on its target


@dataclass(frozen=True, slots=True)
class KpiResult:
    """One KPI of one run. Values are in ``unit``; ``interval`` is ``None`` where there is none.

    ``counts`` tells whether the KPI has a say in the run's word, ``method`` how the interval was
    found, ``advice`` what to do next (empty for a pass), ``seen_from`` the city that answered if it
    was always the same (empty if unknown or several).
    """

    kpi: Kpi
    value: float | None
    interval: tuple[float, float] | None
    target: float
    alert: float
    verdict: Word
    samples: int
    failed: int
    basis: Basis
    method: str
    advice: str
    counts: bool
    seen_from: str = ""

    @property
    def name(self) -> str:
        return self.kpi.name

    @property
    def title(self) -> str:
        return self.kpi.title

    @property
    def unit(self) -> str:
        return self.kpi.unit

    @property
    def unstable(self) -> bool:
        """Whether it waits for a part that was asked for more than it can do."""
        return self.method.startswith(UNSTABLE)

    @property
    def reason(self) -> str:
        """Why there is no value though there are samples."""
        if self.unstable:
            return self.method
        return f"{self.failed} of {self.samples} samples failed"

    def sentence(self) -> str:
        """The value against its target, for example ``P95 71.2 ms against < 50 ms``."""
        if self.verdict == "no-data":
            return self.method
        against = wording.limit(self.kpi.meets, self.target, self.unit)
        value = wording.quantity(self.value, self.unit)
        if self.value is None:
            value += f" ({self.reason})"
        elif self.verdict == "inconclusive":
            value += f" {wording.interval(self.interval, self.unit)}".rstrip()
        return f"{wording.statistic(self.kpi)} {value} against {against}"

    def to_json(self) -> dict[str, Any]:
        """As the command line's ``--json`` has it; an interval without an upper end has null."""
        digits = _DECIMALS[self.unit]
        ends = [_finite(end, digits) for end in self.interval] if self.interval else None
        return {
            "name": self.name,
            "value": _finite(self.value, digits),
            "interval": ends,
            "unit": self.unit,
            "target": self.target,
            "alert": self.alert,
            "verdict": self.verdict,
            "samples": self.samples,
            "failed": self.failed,
            "basis": self.basis,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one run: its worst word, the exit code of that, and every KPI's.

    ``overloaded`` are the parts that were asked for more than they can do.
    """

    scenario: str
    kind: Kind
    word: Word
    code: int
    kpis: tuple[KpiResult, ...]
    last_line: str
    overloaded: tuple[Load, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "kind": self.kind,
            "verdict": self.word,
            "kpis": [result.to_json() for result in self.kpis],
        }


def judge(record: RunRecord) -> Verdict:
    """Judge a run by its own limits and the KPIs it requires (and the error ratio, always)."""
    asked = [STALENESS] if STALENESS.name in record.limits else []
    cities = list(record.counts("city."))
    seen_from = cities[0] if len(cities) == 1 else ""
    results = tuple(_judge_kpi(record, kpi, seen_from) for kpi in (*CATALOGUE, *asked))
    growing = tuple(overloaded(record))
    word, line = _conclude(record, results, growing)
    code = CODES[word]
    last_line = f"{code} {word} {line}"
    return Verdict(record.scenario, record.kind, word, code, results, last_line, growing)


def worse(first: Verdict, second: Verdict) -> Verdict:
    """The one with the worse word, in the order of exit codes 23, 22, 20, 21, 0."""
    return min(first, second, key=lambda verdict: _SEVERITY[verdict.word])


def _conclude(
    record: RunRecord, results: tuple[KpiResult, ...], growing: Sequence[Load]
) -> tuple[Word, str]:
    """The run's word and what follows it on the last line."""
    if record.wrong_input:
        return "wrong input", f"all KPIs: {record.wrong_input}"
    if record.invalid:
        return "not valid", f"all KPIs: {'; '.join(record.invalid)}; mend it and run again"
    if record.stopped_itself:
        return "alert", f"all KPIs: {record.stopped_itself}; {SEE_FAILURES}"
    counted = [result for result in results if result.counts]
    if not counted:
        return "no-data", "all KPIs: there were no requests; raise a rate or lengthen the window"
    # Errors explain whatever else is wrong, so among equals they come first; a part with too much
    # to do explains errors.
    counted.sort(
        key=lambda result: (
            _SEVERITY[result.verdict],
            not result.unstable,
            result.kpi is not ERROR_RATIO,
        )
    )
    worst = counted[0]
    if growing and not worst.unstable:
        also = _also(result.name for result in counted if result.verdict == "alert")
        told = f"all KPIs: whatever they show, {in_words(growing)}, so work piles up there"
        return "alert", f"{told}{also}; {advice(growing)}"
    if worst.verdict == "pass":
        return "pass", f"all {len(counted)} KPIs that count: targets met; nothing to do"
    also = _also(result.name for result in counted[1:] if result.verdict == worst.verdict)
    return worst.verdict, f"{worst.name}: {worst.sentence()}{also}; {worst.advice}"


def _also(names: Iterable[str]) -> str:
    told = ", ".join(names)
    return f" (also {told})" if told else ""


def _judge_kpi(record: RunRecord, kpi: Kpi, seen_from: str) -> KpiResult:
    target, alert = record.limits[kpi.name]
    estimate = read(record, kpi)
    word, what_to_do = _word(record, kpi, estimate)
    return KpiResult(
        kpi,
        estimate.value,
        estimate.interval,
        target,
        alert,
        word,
        estimate.samples,
        estimate.failed,
        kpi.basis(record.kind),
        estimate.method,
        what_to_do,
        _counts(record, kpi, estimate),
        seen_from,
    )


def _counts(record: RunRecord, kpi: Kpi, estimate: Estimate) -> bool:
    if kpi is STALENESS:
        return record.kind == "simulated" or estimate.samples > 0
    return kpi.name in record.required or (kpi is ERROR_RATIO and estimate.samples > 0)


def _word(record: RunRecord, kpi: Kpi, estimate: Estimate) -> tuple[Word, str]:
    """The word of one KPI by the rules at the head of this file, and what to do about it."""
    (target, alert), value = record.limits[kpi.name], estimate.value
    if not estimate.samples:
        return "no-data", kpi.needs
    if value is None:
        growing = unstable(record, kpi.source)
        return "alert", advice(growing) if growing else kpi.look
    failing: Word = "alert" if kpi.is_alert(value, alert) else "missed"
    if kpi.by_value:
        return ("pass", "") if kpi.is_met(value, target) else (failing, kpi.look)
    if kpi.statistic == "percentile" and (more := least_samples(kpi.p) - estimate.samples) > 0:
        return "inconclusive", f"at least {more} more samples: a longer window or a higher rate"
    assert estimate.interval is not None  # every ratio and percentile with a value has one
    ends = {kpi.is_met(end, target) for end in estimate.interval}
    if ends == {True}:
        return "pass", ""
    if ends == {False}:
        return failing, kpi.look
    return "inconclusive", _more(value, estimate.interval, target, estimate, record.kind)


def _more(
    value: float, ends: tuple[float, float], target: float, estimate: Estimate, kind: Kind
) -> str:
    """How much more would decide: an interval shrinks with the square root of what it rests on."""
    if math.isinf(ends[1]):
        return "more samples or fewer failures: the interval has no upper end"
    half, distance = abs(ends[target > value] - value), abs(target - value)
    hopeless = f"it sits on its target: over {_HOPELESS} times the samples would be needed"
    if kind == "simulated" and estimate.repeats > 1:
        now = estimate.repeats
        total = repeats_needed(half, now, distance, _HOPELESS * now)
        if total is None:
            return hopeless
        more = "1 more replication" if total == now + 1 else f"{total - now} more replications"
        return f"about {more} would decide (--replications {total})"
    if half > distance * math.sqrt(_HOPELESS):
        return hopeless
    factor = (half / distance) ** 2
    samples = max(math.ceil(estimate.samples * (factor - 1)), 1)
    longer = f"a window {max(factor, 1.1):.3g} times as long"
    return f"about {samples:,} more samples would decide: {longer}"


def _finite(value: float | None, digits: int) -> float | None:
    return None if value is None or math.isinf(value) else round(value, digits)
