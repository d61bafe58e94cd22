"""What the gate's self-test has found, and whether that is good enough.

Bounds, not points: none of a hundred builds stopped without reason still allows a rate of 3 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log
from typing import Any, Literal, NamedTuple

from reports.effects import Scale
from reports.intervals import CONFIDENCE, binomial_bounds
from reports.kpis import Kpi
from reports.verdict import CODES

POWER_AIM = 0.9
"""So much of the builds with a known change has to be stopped, for sure."""

Reached = Literal["pass", "inconclusive", "missed"]


class Alarms(NamedTuple):
    """Builds without a change that were stopped, of how many, in one way of judging them;
    ``replications`` are those of each of their two runs."""

    way: str
    replications: int
    builds: int
    stopped: int

    @property
    def at_most(self) -> float:
        """The upper end of a one-sided 95 % interval of the rate (Clopper and Pearson)."""
        return binomial_bounds(self.stopped, self.builds, 1 - CONFIDENCE)[1] if self.builds else 1.0

    def reached(self, aim: float) -> Reached:
        """Whether the rate is at most ``aim``: surely, surely not, or not known."""
        if self.at_most <= aim:
            return "pass"
        if not self.builds:
            return "inconclusive"
        surely = binomial_bounds(self.stopped, self.builds, 1 - CONFIDENCE)[0] > aim
        return "missed" if surely else "inconclusive"


class Power(NamedTuple):
    """Builds in which one KPI had changed by so much on average, and how many were stopped; each
    of their runs has so many ``replications``."""

    kpi: Kpi
    replications: int
    change: float
    builds: int
    caught: int

    @property
    def at_least(self) -> float:
        """The lower end of a one-sided 95 % interval of the power (Clopper and Pearson)."""
        return binomial_bounds(self.caught, self.builds, 1 - CONFIDENCE)[0]

    def reached(self) -> Reached:
        """Whether the power is at least :data:`POWER_AIM`: surely, surely not, or not known."""
        if self.at_least >= POWER_AIM:
            return "pass"
        surely = binomial_bounds(self.caught, self.builds, 1 - CONFIDENCE)[1] < POWER_AIM
        return "missed" if surely else "inconclusive"


class Rates(NamedTuple):
    """What was measured under one set of least changes, ``title`` in words."""

    title: str
    alarms: Sequence[Alarms]
    powers: Sequence[Power]


class SelfTest(NamedTuple):
    """Everything that was measured, under this alpha."""

    alpha: float
    rates: Sequence[Rates]

    @property
    def alarms(self) -> list[Alarms]:
        """Under all least changes."""
        return [alarms for rates in self.rates for alarms in rates.alarms]

    @property
    def powers(self) -> list[Power]:
        """Under all least changes."""
        return [power for rates in self.rates for power in rates.powers]

    @property
    def word(self) -> Reached:
        """The worst of all aims."""
        words = [
            *(alarms.reached(self.alpha) for alarms in self.alarms),
            *(power.reached() for power in self.powers),
        ]
        return max(words, key=("pass", "inconclusive", "missed").index)

    @property
    def code(self) -> int:
        return CODES[self.word]

    def lines(self) -> Iterator[str]:
        """What was measured, for people, and the last line."""
        yield f"aims: at most {self.alpha:.2%} of builds without a change are stopped,"
        yield f"      at least {POWER_AIM:.0%} of builds with a known change"
        for rates in self.rates:
            yield ""
            yield f"{'replications':<14}{f'change, by {rates.title}':<36}builds stopped"
            for alarms in rates.alarms:
                found = f"{alarms.stopped} of {alarms.builds:,}, at most {alarms.at_most:.2%}"
                row = f"{alarms.replications:>12}  {f'none, {alarms.way}':<36}{found:<28}"
                yield f"{row}{alarms.reached(self.alpha)}"
            for power in rates.powers:
                change = f"{power.kpi.name} {Scale(power.kpi).text(power.change)}"
                found = f"{power.caught} of {power.builds}, at least {power.at_least:.1%}"
                yield f"{power.replications:>12}  {change:<36}{found:<28}{power.reached()}"
        yield ""
        yield f"{self.code} {self.word} {self._sentence()}"

    def _sentence(self) -> str:
        if self.word == "pass":
            worst = max(alarms.at_most for alarms in self.alarms)
            least = min(power.at_least for power in self.powers)
            return f"false alarms in at most {worst:.2%} of builds, power at least {least:.1%}"
        if self.word == "missed":
            return "the gate does not keep its promise: see the lines above"
        return self._open_question()

    def _open_question(self) -> str:
        """Too few pairs to tell whatever they are, or counts between the bounds."""
        few = ceil(log(1 - CONFIDENCE) / log(1 - self.alpha))
        sizes = [alarms.replications for alarms in self.alarms]
        pairs = ceil(few * max(sizes) / min(sizes))
        if min(alarms.builds for alarms in self.alarms) < few:
            return f"too few builds to tell: --pairs {pairs} at the very least"
        return "neither kept nor broken for sure: see the lines above"

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "verdict": self.word,
            "alpha": self.alpha,
            "rates": [
                {
                    "by": rates.title,
                    "false_alarms": [
                        {**alarms._asdict(), "at_most": alarms.at_most} for alarms in rates.alarms
                    ],
                    "power": [
                        {**power._asdict(), "kpi": power.kpi.name, "at_least": power.at_least}
                        for power in rates.powers
                    ],
                }
                for rates in self.rates
            ],
        }
