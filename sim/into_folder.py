"""A simulation from its progress bar to its folder: the record, the samples, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.progress import Counter
from reports.tell import Run, judge_and_save
from scenarios.plan import Plan
from scenarios.schema import Scenario
from sim.simulate import simulate


def simulate_into(
    out: Path,
    scenario: Scenario,
    seed: int,
    replications: int,
    quiet: bool,
    notes: Sequence[str] = (),
) -> Run:
    """Simulate with a progress bar, write record and samples into ``out``, and judge."""
    planned = Plan(scenario, seed, 1).expected_requests() * replications
    with Counter("simulating", planned, quiet=quiet) as counter:
        record, samples = simulate(scenario, seed, replications, counter.advance)
    record.notes += notes
    out.mkdir(parents=True, exist_ok=True)
    samples.save(out)
    return judge_and_save(record, out)
