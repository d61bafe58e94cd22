"""What a host that is not this machine is spared: writes, a sudden load, and a plan without end."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest._guard import Refused, Target
from scenarios.schema import Scenario

NO_EVENTS = "workload.tracking.rate_per_s=0"

NEED_EVENTS = ("tracking_latency_p95", "queue_processing_p95")
"""KPIs that cannot be measured where no events are sent."""


def restraints(scenario: Scenario, targets: Mapping[str, Target]) -> list[str]:
    """Overrides that make ``scenario`` fit for the hosts of its routes.

    Raises:
        Refused: when it asks by POST where only reads are allowed.
    """
    mapped = scenario.target
    if mapped.writes == "allowed":
        return []
    asks = scenario.workload.attribution.rate_per_s > 0
    if asks and targets["attribution"].is_foreign and mapped.attribution.method != "GET":
        raise Refused(
            f"{targets['attribution'].name} is not this machine and its look-ups are sent by POST, "
            "which may change something: say target.writes: allowed"
        )
    return [NO_EVENTS] if targets["tracking"].is_foreign else []


def required(scenario: Scenario, target: Target) -> tuple[list[str], list[str]]:
    """The KPIs that count where events go to ``target``, and what to tell about it."""
    wanted = list(scenario.kpis.required)
    if not target.is_foreign or scenario.target.writes == "allowed":
        return wanted, []
    kept = [name for name in wanted if name not in NEED_EVENTS]
    if not kept:
        raise Refused("on a host that is not this machine only reads are sent: no KPI is left")
    note = f"{target.name} is not this machine: only reads were sent"
    if kept != wanted:
        dropped = ", ".join(name for name in wanted if name not in kept)
        note += f", and {dropped} did not count"
    return kept, [note]
