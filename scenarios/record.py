"""A run record's beginning: the question it answers and the versions that may change the answer."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib import metadata

from reports.kpis import DEFAULT_LIMITS
from reports.record import Kind, RunRecord, Unit, Window, sha256
from scenarios.schema import Scenario


def new_record(
    scenario: Scenario,
    kind: Kind,
    seed: int,
    window: Window,
    units: list[Unit],
    required: Sequence[str] | None = None,
) -> RunRecord:
    """The record of one run of ``scenario``; ``required`` if other than the scenario's own."""
    settings = scenario.model_dump(mode="json")
    limits = {name: (own.target, own.alert) for name, own in scenario.kpis.limits.items()}
    return RunRecord(
        kind=kind,
        scenario=scenario.name,
        scenario_settings=settings,
        scenario_sha256=sha256(settings),
        seed=seed,
        window=window,
        units=units,
        required=list(scenario.kpis.required if required is None else required),
        cache_types=list(scenario.kpis.cache_types),
        limits=DEFAULT_LIMITS | limits,
    )


def versions(packages: Iterable[str]) -> dict[str, str | int | float]:
    """The versions of Python and of those ``packages`` that are installed."""
    found: dict[str, str | int | float] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
