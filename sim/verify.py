"""The parts of the world against the closed forms: what ``edgekpi verify`` runs.

Each experiment drives a part as the simulation has it with arrivals and services whose law is
known, and estimates the mean of what it does by :mod:`sim.batch_means`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from sim import verify_caches as caches
from sim import verify_queues as queues
from sim.batch_means import Mean
from sim.simulate import quiet_collector

FALSE_ALARM = 0.001
"""How often a run of all experiments finds fault with parts that are right."""

FINE = 0.01

Verdict = Literal["agrees", "differs", "too wide"]

Run = Callable[[int, int], Sequence[tuple[float, Mean]]]
"""From the number of arrivals and a seed to pairs of theory and what was found."""


class Experiment(NamedTuple):
    """One run, the laws its results must follow, and how well they are to be known.

    ``precision`` is the relative half-width that ``size`` arrivals are to reach.
    """

    part: str
    laws: tuple[str, ...]
    precision: float
    size: int
    run: Run

    def finer(self) -> Experiment:
        """To :data:`FINE`, with as many more arrivals as that takes."""
        if self.precision <= FINE:
            return self
        more = round(self.size * (self.precision / FINE) ** 2)
        return self._replace(precision=FINE, size=more)

    def findings(self, seed: int) -> list[Finding]:
        """Run it."""
        with quiet_collector():
            pairs = self.run(self.size, seed)
        laws = zip(self.laws, pairs, strict=True)
        return [Finding(self.part, law, self.precision, *pair) for law, pair in laws]


class Finding(NamedTuple):
    """What theory says and what the part did: waits in ms, shares from 0 to 1."""

    part: str
    law: str
    precision: float
    theory: float
    found: Mean

    @property
    def deviation(self) -> float:
        """How far off it is, of what theory says."""
        return self.found.value / self.theory - 1

    @property
    def half_width(self) -> float:
        """Half the 95 % interval, of what theory says."""
        return self.found.half_width() / self.theory

    @property
    def verdict(self) -> Verdict:
        """ "agrees" if chance explains the difference, "differs" if it does not.

        With parts that are right, all agree but for :data:`FALSE_ALARM` of the seeds (Bonferroni's
        bound). "too wide" is a mean that is not known to its ``precision``: chance could have
        hidden a difference that matters.
        """
        alone = 1 - FALSE_ALARM / sum(len(experiment.laws) for experiment in EXPERIMENTS)
        if abs(self.found.value - self.theory) > self.found.half_width(alone):
            return "differs"
        return "agrees" if self.half_width <= self.precision else "too wide"

    def to_json(self) -> dict[str, Any]:
        """As the command line's ``--json`` has it."""
        return {
            "part": self.part,
            "law": self.law,
            "theory": self.theory,
            "simulated": self.found.value,
            "half_width": self.found.half_width(),
            "relative_half_width": self.half_width,
            "relative_deviation": self.deviation,
            "precision": self.precision,
            "verdict": self.verdict,
        }


def experiments(*, precise: bool = False) -> list[Experiment]:
    """All of them; ``precise`` takes each to 1 %."""
    return [experiment.finer() if precise else experiment for experiment in EXPERIMENTS]


def _wait(law: str, load: float, size: int, run: Run) -> Experiment:
    precision = FINE if load < 0.9 else 3 * FINE
    part = "places of a limiter" if law.startswith("M/M/2") else "the thread of D1"
    return Experiment(part, (f"{law} wait, load {load}",), precision, size, run)


def _hit(part: str, wanted: float, size: int, run: Run) -> Experiment:
    return Experiment(part, (f"TTL hit ratio, {wanted:g} look-ups a TTL",), FINE, size, run)


ROWS = {5: 0.75, 50: 0.25}
"""Of the statements behind M/G/1: rows read, and how likely."""

EXPERIMENTS = (
    *(
        _wait("M/M/1", load, size, partial(queues.d1_exponential, load))
        for load, size in ((0.3, 700_000), (0.7, 400_000), (0.9, 300_000))
    ),
    *(
        _wait("M/D/1", load, size, partial(queues.d1_statements, {10: 1.0}, load))
        for load, size in ((0.3, 500_000), (0.7, 350_000), (0.9, 200_000))
    ),
    *(
        _wait("M/G/1", load, size, partial(queues.d1_statements, ROWS, load))
        for load, size in ((0.3, 700_000), (0.7, 400_000), (0.9, 250_000))
    ),
    *(
        _wait("M/M/2", load, size, partial(queues.limiter, load, 2))
        for load, size in ((0.7, 700_000), (0.9, 350_000))
    ),
    *(
        _hit("a node's copy in KV", wanted, 100_000, partial(caches.node_copy, wanted))
        for wanted in (0.5, 4.0)
    ),
    *(_hit("L1", wanted, 100_000, partial(caches.l1_entry, wanted)) for wanted in (0.5, 4.0)),
    Experiment(
        "a whole world, Zipf keys",
        ("hits", "joined a fetch", "misses"),
        FINE,
        170_000,
        caches.population,
    ),
)
