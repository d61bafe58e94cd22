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
    """Builds without a change that were stopped, of how many, in one way of judging them."""

    way: str
    builds: int
    stopped: int

    @property
    def at_most(self) -> float:
        """The upper end of a one-sided 95 % interval of the rate (Clopper and Pearson)."""
        return binomial_bounds(self.stopped, self.builds, 1 - CONFIDENCE)[1]

    def reached(self, aim: float) -> Reached:
        """Whether the rate is at most ``aim``: surely, surely not, or not known."""
        if self.at_most <= aim:
            return "pass"
        surely = binomial_bounds(self.stopped, self.builds, 1 - CONFIDENCE)[0] > aim
        return "missed" if surely else "inconclusive"


class Power(NamedTuple):
    """Builds in which one KPI had changed by so much on average, and how many were stopped."""

    kpi: Kpi
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


class SelfTest(NamedTuple):
    """Everything that was measured, under this alpha."""

    alpha: float
    alarms: Sequence[Alarms]
    powers: Sequence[Power]

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
        yield f"builds without a change that were stopped (aim: at most {self.alpha:.2%})"
        for alarms in self.alarms:
            found = f"{alarms.stopped} of {alarms.builds:,}, at most {alarms.at_most:.2%}"
            yield f"  {alarms.way:<24} {found:<28} {alarms.reached(self.alpha)}"
        yield f"builds with a known change that were stopped (aim: at least {POWER_AIM:.0%})"
        for power in self.powers:
            found = f"{power.caught} of {power.builds}, at least {power.at_least:.1%}"
            moved = Scale(power.kpi).text(power.change)
            yield f"  {power.kpi.name:<24} {moved:<10} {found:<28} {power.reached()}"
        yield f"{self.code} {self.word} {self._sentence()}"

    def _sentence(self) -> str:
        if self.word == "pass":
            worst = max(alarms.at_most for alarms in self.alarms)
            least = min(power.at_least for power in self.powers)
            return f"false alarms in at most {worst:.2%} of builds, power at least {least:.1%}"
        if self.word == "missed":
            return "the gate does not keep its promise: see the lines above"
        enough = ceil(log(1 - CONFIDENCE) / log(1 - self.alpha))
        return f"too few builds to tell: --pairs {enough} at the very least"

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "verdict": self.word,
            "alpha": self.alpha,
            "false_alarms": [
                {**alarms._asdict(), "at_most": alarms.at_most} for alarms in self.alarms
            ],
            "power": [
                {**power._asdict(), "kpi": power.kpi.name, "at_least": power.at_least}
                for power in self.powers
            ],
        }
