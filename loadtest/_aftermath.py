"""What a reader should know after a run: where it was seen from, and what it left behind."""

from __future__ import annotations

from loadtest._setup import Setup
from reports.record import RunRecord
from scenarios.template import Template


def aftermath(setup: Setup, run_id: str, record: RunRecord) -> list[str]:
    """Sentences for the end of a report."""
    notes = []
    cities = record.counts("city.")
    if len(cities) > 1:
        answers = sum(cities.values())
        shares = ", ".join(f"{city} {count / answers:.0%}" for city, count in cities.items())
        notes.append(f"seen from {len(cities)} cities: {shares}")
    if statement := undo(setup, run_id):
        notes.append(f"the events of this run are deleted by: {statement}")
    return notes


def undo(setup: Setup, run_id: str) -> str | None:
    """The statement that deletes a run's events where they stay, if it sends any."""
    if setup.kind == "emulated" or not setup.scenario.workload.tracking.rate_per_s:
        return None
    return Template(setup.mapped.undo, ("run_id",)).fill({"run_id": run_id})
