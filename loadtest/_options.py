"""Options of the load test, and from them what one run needs, or every reason why it cannot be."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest._foreign import NO_EVENTS, check_budget, required, restraints
from loadtest._guard import Refused, Target, admit
from loadtest._secrets import Secrets
from loadtest._setup import Closed, Setup
from reports.record import Kind
from scenarios.ids import read_ids
from scenarios.journeys import Conversion
from scenarios.loader import ScenarioError, find, load
from scenarios.schema import Scenario
from scenarios.target import Target as Mapped

DEFAULT_SCENARIO = "smoke/tiny"
READS_ONLY = (NO_EVENTS, "kpis.required=[cache_hit_ratio, attribution_latency_p95, worker_cpu_p95]")
"""What the default scenario becomes: whoever named none has not agreed to writes."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add our options to Locust's parser, once, and refuse what the plan leaves no room for."""
    if getattr(parser, "has_edgekpi_options", False):
        return
    parser.has_edgekpi_options = True  # type: ignore[attr-defined]
    add: Any = parser.add_argument_group("edgekpi").add_argument
    add(
        "--scenario",
        env_var="EDGEKPI_SCENARIO",
        help=f"file or bundled name (default: the look-ups of {DEFAULT_SCENARIO})",
    )
    add(
        "--set",
        dest="overrides",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override a value of the scenario, like measure.window_s=60; may be repeated",
    )
    add("--edgekpi-seed", metavar="N", type=int, help="seed of the plan instead of the scenario's")
    add(
        "--edgekpi-out",
        metavar="DIR",
        help="folder for run.json, samples.npz and report.html "
        "(default: reports/out/<scenario>-load)",
    )
    add(
        "--i-own-this-host",
        metavar="HOST",
        action="append",
        default=[],
        help="repeat the name of a host that is not this machine to ask it; reads only, unless the "
        "scenario says target.writes: allowed; once for each host",
    )
    add(
        "--dry-run",
        action="store_true",
        help="send one request of each kind and show what would be recorded",
    )
    add("--raw", metavar="FILE", help="write every request, warm-up included, as CSV")
    add(
        "--closed",
        metavar="USERS",
        type=int,
        help="so many users who wait for each answer, instead of open arrivals at the plan's times",
    )
    add("--think-time", metavar="S", type=float, help="seconds between an answer and the next ask")
    add("--edgekpi-quiet", action="store_true", help="print nothing but errors")
    _check_after_parsing(parser)


def _check_after_parsing(parser: ArgumentParser) -> None:
    """Refuse and take over options where they are read.

    Later, Locust has forked or waits for a peer. Its run time becomes our window: its own timer
    would cut the requests in flight, while the plan has an end.
    """
    parse = parser.parse_args

    def parse_and_check(*args: Any, **kwargs: Any) -> Any:
        options = parse(*args, **kwargs)
        problems = unusable(options)
        if options.dry_run:
            options.processes = None
        options.window_s, options.run_time = options.run_time, None
        if options.processes and not options.worker and not problems:
            problems = _refusals(options)  # once forked, workers would wait for their master
        if problems:
            parser.exit(23, "".join(f"{problem}\n" for problem in problems))
        return options

    parser.parse_args = parse_and_check  # type: ignore[method-assign]


def unusable(options: Namespace) -> list[str]:
    """Sentences about options of Locust that contradict the plan."""
    problems = []
    if options.num_users is not None or options.spawn_rate is not None:
        problems.append(
            "-u and -r are not for this load test: the scenario's plan decides how many requests "
            "leave when; change workload.*.rate_per_s with --set"
        )
    return problems


def _refusals(options: Namespace) -> list[str]:
    try:
        prepare(options, options.host)
    except Refused as refusal:
        return refusal.problems
    return []


def prepare(options: Namespace, host: str | None) -> Setup:
    """Check everything about a run that can be checked before it.

    Raises:
        Refused: with every problem found.
    """
    kind: Kind = "emulated" if os.environ.get("EDGEKPI_KIND") == "emulated" else "live"
    target = admit(host, options.i_own_this_host)
    scenario = _scenario(options)
    mapped = Mapped() if kind == "emulated" else scenario.target
    targets = _targets(mapped, target, options.i_own_this_host)
    if restrained := restraints(scenario, targets):
        scenario = _scenario(options, restrained)
    required_kpis, notes = required(scenario, targets["tracking"])
    seed = options.edgekpi_seed
    if seed is not None and not 0 <= seed < 2**63:
        raise Refused("--edgekpi-seed: expected a whole number from 0 to 2^63 - 1")
    setup = Setup(
        scenario=scenario,
        seed=scenario.seed if seed is None else seed,
        given_host=str(host),
        target=target,
        targets=targets,
        mapped=mapped,
        secrets=Secrets(mapped.secrets()),
        ids=None if kind == "emulated" else _ids(options, scenario),
        kind=kind,
        token=os.environ.get("EDGEKPI_TOKEN") or None,
        out=Path(options.edgekpi_out or Path("reports/out") / f"{scenario.name}-load"),
        raw=Path(options.raw) if options.raw else None,
        closed=_closed(options),
        quiet=options.edgekpi_quiet,
        required=required_kpis,
        notes=notes,
    )
    check_budget(setup)
    return setup


def _closed(options: Namespace) -> Closed | None:
    if options.closed is None and options.think_time is None:
        return None
    think_s = 0.0 if options.think_time is None else options.think_time
    if options.closed is None or options.closed < 1 or not 0 <= think_s < 86_400:
        raise Refused("--closed USERS wants 1 user or more, and --think-time a number of seconds")
    return Closed(options.closed, round(think_s * 1e6))


def _scenario(options: Namespace, restrained: Sequence[str] = ()) -> Scenario:
    """The scenario under the user's overrides, and under those that the guard demands."""
    overrides = [] if options.scenario else list(READS_ONLY)
    overrides += options.overrides
    if options.window_s is not None:
        overrides.append(f"measure.window_s={options.window_s}")
    try:
        return load(options.scenario or DEFAULT_SCENARIO, [*overrides, *restrained])
    except ScenarioError as error:
        raise Refused(*error.problems) from None


def _targets(mapped: Mapped, target: Target, owned: Sequence[str]) -> dict[str, Target]:
    """The host of each route: its own, or that of the run."""
    routes = {"attribution": mapped.attribution, "tracking": mapped.tracking}
    return {
        name: admit(route.host, owned, f"target.{name}.host") if route.host else target
        for name, route in routes.items()
    }


def _ids(options: Namespace, scenario: Scenario) -> list[Conversion] | None:
    """The deployment's own IDs, if the scenario names a file of them."""
    if scenario.population.csv is None:
        return None
    try:
        folder = find(options.scenario or DEFAULT_SCENARIO).parent
        return read_ids(scenario.population, folder)
    except ScenarioError as error:
        raise Refused(*error.problems) from None
