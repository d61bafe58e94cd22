"""The gate: does a build go through? Two questions for each KPI, kept apart.

Is its limit met with confidence? That is the verdict of every run, by the limits of the record or
by others. Is it worse than the baseline? That is :mod:`reports.changes`. The worst word of all
decides. Pure: saved records in, a verdict out, so any old run can be judged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reports.changes import (
    FEWEST_RUNS,
    Asked,
    Change,
    ChangeWord,
    asked_of,
    compared,
    decide,
    find,
    none_compared,
)
from reports.effects import DEFAULTS, MinEffect, with_limits
from reports.fingerprint import setting_differences, version_differences
from reports.pools import Pool, pools_of
from reports.record import RunRecord
from reports.stability import advice, in_words, notes
from reports.verdict import CODES, SEE_FAILURES, UNUSABLE, KpiResult, Verdict, Word, judge

GateWord = Word | ChangeWord
Allowed = Literal["inconclusive", "versions"]

ORDER: tuple[GateWord, ...] = (
    "wrong input", "not valid", "alert", "missed", "regressed", "no-data", "inconclusive",
    "pass", "improved", "unchanged",
)  # fmt: skip
"""The worst first."""

GOOD: tuple[GateWord, ...] = ("pass", "improved", "unchanged")
ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Rules:
    """How strict the gate is.

    ``alpha`` bounds the share of builds in which nothing has changed and a KPI is said to have.
    ``allow`` lets through what only more data could decide ("inconclusive"), and compares with a
    baseline of other versions ("versions").
    """

    alpha: float = ALPHA
    least: Mapping[str, MinEffect] = field(default_factory=lambda: dict(DEFAULTS))
    limits: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    fail_on: Literal["missed", "alert"] = "missed"
    allow: frozenset[Allowed] = frozenset()


@dataclass(frozen=True, slots=True)
class Judged:
    """One pool of runs: the verdict on its limits, and its changes (none without a baseline)."""

    pool: Pool
    verdict: Verdict
    changes: tuple[Change, ...] = ()
    invalid: tuple[str, ...] = ()

    @property
    def unusable(self) -> tuple[GateWord, list[str]] | None:
        """Why nothing of the pool is judged, and the word for it; ``None`` if it is."""
        if self.verdict.word in UNUSABLE:
            return self.verdict.word, self.pool.unusable
        return ("not valid", [f"baseline: {'; '.join(self.invalid)}"]) if self.invalid else None

    def rows(self) -> Iterator[tuple[KpiResult, Change | None]]:
        """Both answers of each KPI."""
        changes = self.changes or (None,) * len(self.verdict.kpis)
        return zip(self.verdict.kpis, changes, strict=True)

    def to_json(self) -> dict[str, Any]:
        kpis = [
            {**result.to_json(), "counts": result.counts, "change": change and change.to_json()}
            for result, change in self.rows()
        ]
        return {
            "scenario": self.pool.scenario,
            "kind": self.pool.kind,
            "runs": self.pool.describe(),
            "limits": self.verdict.word,
            "overloaded": [load.to_json() for load in self.verdict.overloaded],
            "invalid": list(self.invalid),
            "kpis": kpis,
        }


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The judgement of one build: its worst word and the exit code of that."""

    judged: tuple[Judged, ...]
    word: GateWord
    last_line: str
    rules: Rules
    comparisons: int
    notes: tuple[str, ...]

    @property
    def code(self) -> int:
        return code_of(self.word)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.word,
            "code": self.code,
            "last_line": self.last_line,
            "alpha": self.rules.alpha,
            "comparisons": self.comparisons,
            "notes": list(self.notes),
            "pools": [judged.to_json() for judged in self.judged],
        }


def code_of(word: GateWord) -> int:
    """The exit code of a word; "regressed" is as bad as a target that is not met."""
    if word == "improved" or word == "unchanged":
        return CODES["pass"]
    return CODES["missed"] if word == "regressed" else CODES[word]


def gate(
    records: Sequence[RunRecord], baseline: Sequence[RunRecord] | None, rules: Rules
) -> GateVerdict:
    """Judge one build. ``baseline`` is ``None`` if none was given: then there are limits only.

    Raises :class:`reports.pools.PoolError` if runs do not belong together, ``ValueError`` if a
    limit makes no sense.
    """
    pools = pools_of(records)
    known = {(pool.scenario, pool.kind): pool for pool in pools_of(baseline or [])}
    verdicts = [judge(_with_limits(pool.record, rules)) for pool in pools]
    if baseline is None:
        judged = tuple(map(Judged, pools, verdicts))
        return _conclude(judged, 0, rules, ["no baseline was given: limits only, nothing compared"])
    olds = [known.get((pool.scenario, pool.kind)) for pool in pools]
    asked = [asked_of(verdict) for verdict in verdicts]
    changes, comparisons = _changes(pools, olds, asked, list(known.values()), rules)
    judged = tuple(
        Judged(pool, verdict, tuple(change), tuple(old.no_baseline if old else ()))
        for pool, verdict, change, old in zip(pools, verdicts, changes, olds, strict=True)
    )
    return _conclude(judged, comparisons, rules, _notes(pools, olds, known.values(), rules))


def _with_limits(record: RunRecord, rules: Rules) -> RunRecord:
    """The record with the limits to judge by; a KPI for which one is given counts."""
    required = list(dict.fromkeys([*record.required, *rules.limits]))
    return replace(record, limits=with_limits(record.limits, rules.limits), required=required)


def weight(word: GateWord, rules: Rules, undecided: bool = True) -> GateWord:
    """The word as the rules take it: what they tolerate counts as "pass"."""
    if word == "missed" and rules.fail_on == "alert":
        return "pass"
    if word == "inconclusive" and undecided and "inconclusive" in rules.allow:
        return "pass"
    return word


# --------------------------------------------------------------------------- comparing


def _changes(
    pools: Sequence[Pool],
    olds: Sequence[Pool | None],
    asked: Sequence[Asked],
    known: Sequence[Pool],
    rules: Rules,
) -> tuple[list[list[Change]], int]:
    """The changes of each pool, all KPIs of the build weighed together; and how many those are."""
    obstacles = [_obstacle(pool, old, known, rules) for pool, old in zip(pools, olds, strict=True)]
    findings = [
        [] if obstacle or old is None else find(pool, old, kpis)
        for pool, old, kpis, obstacle in zip(pools, olds, asked, obstacles, strict=True)
    ]
    flat = [found for pool in findings for found in pool]
    decided = iter(decide(flat, rules.alpha, rules.least))
    changes = [
        [next(decided) for _ in found] if found else none_compared(kpis, obstacle)
        for kpis, found, obstacle in zip(asked, findings, obstacles, strict=True)
    ]
    return changes, sum(map(compared, flat))


def _obstacle(pool: Pool, old: Pool | None, known: Sequence[Pool], rules: Rules) -> str:
    """Why a pool cannot be compared; empty if it can."""
    if old is None:
        others = ", ".join(one.name for one in known) or "none"
        return (
            f"no baseline of {pool.name} is among those given ({others}): "
            "edgekpi baseline promote makes one"
        )
    new_run, old_run = pool.records[0], old.records[0]
    if differences := setting_differences(new_run, old_run):
        return f"the baseline was asked another question: {_some(differences)}; promote a new one"
    differences = version_differences(new_run, old_run)
    if differences and "versions" not in rules.allow:
        return (
            f"the baseline is of another make: {_some(differences)}; promote a new one, or "
            "--allow versions"
        )
    return ""


def _some(differences: Sequence[str]) -> str:
    more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
    return ", ".join(differences[:3]) + more


def _notes(
    pools: Sequence[Pool], olds: Sequence[Pool | None], known: Iterable[Pool], rules: Rules
) -> list[str]:
    notes = []
    for pool, old in zip(pools, olds, strict=True):
        if old is None:
            continue
        if differences := version_differences(pool.records[0], old.records[0]):
            notes.append(f"{pool.name}: compared across makes: {_some(differences)}")
        if not pool.single and pool.kind != "simulated" and len(old.records) < FEWEST_RUNS:
            few = f"a baseline of {len(old.records)} runs knows little of the drift between runs"
            notes.append(f"{pool.name}: {few}; {FEWEST_RUNS} are a good number")
    notes += [f"{old.name}: a baseline, but no run" for old in known if old not in olds]
    return notes


# --------------------------------------------------------------------------- concluding


def _conclude(
    judged: tuple[Judged, ...], comparisons: int, rules: Rules, told: list[str]
) -> GateVerdict:
    for one in judged:
        told += [f"{one.pool.name}: {note}" for note in notes(one.pool.record)]
        if one.pool.single:
            told.append(
                f"{one.pool.name}: one run; its intervals are within-run only and know nothing "
                "of the drift between runs"
            )
    answers = [answer for one in judged for answer in _answers(one, rules, len(judged) > 1)]
    answers.sort(key=lambda answer: ORDER.index(answer[0]))
    word, sentence = answers[0] if answers else ("no-data", "no run was given")
    also = sum(other == word for other, _ in answers) - 1
    if word in GOOD:
        word, sentence = "pass", _passed(judged, rules)
    elif also > 0:
        sentence += f" (and {also} more)"
    line = f"{code_of(word)} {word} {sentence}"
    return GateVerdict(judged, word, line, rules, comparisons, tuple(told))


def _answers(one: Judged, rules: Rules, several: bool) -> Iterator[tuple[GateWord, str]]:
    """A word and a sentence for each question about each KPI that counts, and for an overload."""
    of = f"{one.pool.name} " if several else ""
    if one.unusable is not None:
        word, reasons = one.unusable
        yield word, f"{of}{'; '.join(reasons)}; mend it and run again"
        return
    for reason in one.pool.broken_off:
        yield "alert", f"{of}{reason}; {SEE_FAILURES}"
    if not any(result.counts for result in one.verdict.kpis):
        yield "no-data", f"{of}there were no requests; raise a rate or lengthen the window"
    if growing := one.verdict.overloaded:
        yield "alert", f"{of}{in_words(growing)}, so work piles up there; {advice(growing)}"
    for result, change in one.rows():
        if not result.counts:
            continue
        what_to_do = f"; {result.advice}" if result.advice else ""
        word = weight(result.verdict, rules)
        yield word, f"{of}{result.name}: {result.sentence()}{what_to_do}"
        if change is not None:
            yield weight(change.word, rules, change.undecided), f"{of}{result.name}: {change.text}"


def _passed(judged: Sequence[Judged], rules: Rules) -> str:
    """What a good build says: how many limits, how many comparisons, and what was tolerated."""
    results = [result for one in judged for result in one.verdict.kpis if result.counts]
    changes = [change for one in judged for change in one.changes if change.counts]
    words: list[GateWord] = [
        *(result.verdict for result in results if result.verdict != "pass"),
        *(change.word for change in changes),
    ]
    told = [f"{words.count(word)} {word}" for word in ORDER if word in words]
    compared_with = "" if changes else "no baseline; "
    met = sum(result.verdict == "pass" for result in results)
    counted = (
        f"{met} of {len(results)} limits met" if met < len(results) else f"all {met} limits met"
    )
    return f"{counted}; {compared_with}{', '.join(told) or 'nothing to do'}"
