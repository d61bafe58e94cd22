"""What a host that is not this machine is spared: writes, a sudden load, and a plan without end."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest._guard import Refused, Target
from loadtest._setup import Setup
from scenarios.plan import Plan
from scenarios.schema import Scenario

CLIMB_S = 30.0
"""The rate climbs to full over this time, which belongs to the warm-up."""

MAX_REQUESTS = 100_000
"""A plan of more is refused, unless the scenario's ``target.max_requests`` says otherwise."""

NO_EVENTS = "workload.tracking.rate_per_s=0"

NEED_EVENTS = ("tracking_latency_p95", "queue_processing_p95")
"""KPIs that cannot be measured where no events are sent."""


def restraints(scenario: Scenario, targets: Mapping[str, Target]) -> list[str]:
    """Overrides that make ``scenario`` fit for the hosts of its routes.

    Raises:
        Refused: when it asks by POST where only reads are allowed.
    """
    mapped = scenario.target
    if not is_foreign(targets):
        return []
    slowly = [f"measure.warmup_s={max(scenario.measure.warmup_s, CLIMB_S):g}"]
    if mapped.writes == "allowed":
        return slowly
    asks = scenario.workload.attribution.rate_per_s > 0
    if asks and targets["attribution"].is_foreign and mapped.attribution.method != "GET":
        raise Refused(
            f"{targets['attribution'].name} is not this machine and its look-ups are sent by POST, "
            "which may change something: say target.writes: allowed"
        )
    return [*slowly, NO_EVENTS] if targets["tracking"].is_foreign else slowly


def is_foreign(targets: Mapping[str, Target]) -> bool:
    """Whether any route goes to a host that is not this machine."""
    return any(target.is_foreign for target in targets.values())


def climb_us(setup: Setup) -> int:
    """How long the rate climbs, from the start of the plan."""
    return round(CLIMB_S * 1e6) if is_foreign(setup.targets) else 0


def check_budget(setup: Setup) -> None:
    """Count the plan, as far as it may go.

    Raises:
        Refused: for a plan of more requests than the scenario or its host allows, and for a closed
            load where there is such a limit.
    """
    most = setup.mapped.max_requests
    if most is None and is_foreign(setup.targets):
        most = MAX_REQUESTS
    if most is None:
        return
    if setup.closed is not None:
        raise Refused(
            "a closed load has no plan to count: with --closed no target.max_requests can be held, "
            "and only this machine may be asked"
        )
    planned = 0
    for chunk in Plan(setup.scenario, setup.seed, 1):
        planned += len(chunk) * (1 + setup.mapped.follow_redirects)
        if planned > most:
            raise Refused(
                f"the plan may send over {most:,} requests: lower the rates or the window, or "
                "raise target.max_requests"
            )


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
