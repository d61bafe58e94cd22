"""What is to be sent: the checked setup, the conversions asked for, and the plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from loadtest._setup import Setup
from scenarios.journeys import Conversion, load_population
from scenarios.plan import Plan
from scenarios.record import versions

SAME_EVERYWHERE = ("edgekpi", "numpy")
"""Packages whose versions must agree between all generators of one run."""


class Part(NamedTuple):
    """Which part of which run: every ``of``-th request from number ``number`` on."""

    run_id: str
    number: int
    of: int


class Workload(NamedTuple):
    """One run's question, the same in each process that helps to ask it."""

    setup: Setup
    conversions: Sequence[Conversion]
    plan: Plan

    @property
    def fingerprint(self) -> str:
        """Equal for two processes if and only if they would send the same requests."""
        plan = self.plan.chunk(0) if self.plan.expected_requests() else None
        first = [] if plan is None else [plan.intended_us.tolist(), plan.key.tolist()]
        question = {
            "settings": self.setup.scenario.model_dump(mode="json"),
            "seed": self.setup.seed,
            "host": self.setup.target.url,
            "conversions": [conversion.conversion_id for conversion in self.conversions],
            "first": first,
            "versions": versions(SAME_EVERYWHERE),
        }
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def workload_of(setup: Setup) -> Workload:
    """Find the conversions and make the plan."""
    conversions = setup.ids or load_population(setup.scenario.data).conversions
    return Workload(setup, conversions, Plan(setup.scenario, setup.seed, len(conversions)))
