"""Options of the load test, and from them what one run needs, or every reason why it cannot be."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest._guard import Refused, Target, admit
from reports.record import Kind
from scenarios.loader import ScenarioError, load
from scenarios.schema import Scenario

DEFAULT_SCENARIO = "smoke/tiny"
NO_EVENTS = "workload.tracking.rate_per_s=0"
READS_ONLY = (NO_EVENTS, "kpis.required=[cache_hit_ratio, attribution_latency_p95, worker_cpu_p95]")
"""What the default scenario becomes: whoever named none has not agreed to writes."""

NEED_EVENTS = ("tracking_latency_p95", "queue_processing_p95")
"""KPIs that cannot be measured where no events are sent."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that one run needs, checked: what is asked, of whom, and where the answer goes.

    ``given_host`` is the URL that ``target`` was made from; ``kind`` is "emulated" only when our
    own program started the server and says so in the environment.
    """

    scenario: Scenario
    seed: int
    given_host: str
    target: Target
    kind: Kind
    token: str | None
    out: Path
    quiet: bool
    required: list[str]
    notes: list[str]


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
        help="repeat the name in --host to ask a host that is not this machine; reads only",
    )
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
        if problems := unusable(options):
            parser.exit(23, "".join(f"{problem}\n" for problem in problems))
        options.window_s, options.run_time = options.run_time, None
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
    if options.processes or options.master or options.worker:
        problems.append(
            "--processes, --master and --worker are not supported yet: run one process, which "
            "offers up to about 1,000 requests a second"
        )
    return problems


def prepare(options: Namespace, host: str | None) -> Setup:
    """Check everything about a run that can be checked before it.

    Raises:
        Refused: with every problem found.
    """
    target = admit(host, options.i_own_this_host)
    try:
        scenario = load(options.scenario or DEFAULT_SCENARIO, _overrides(options, target))
    except ScenarioError as error:
        raise Refused(*error.problems) from None
    required, notes = _required(scenario, target)
    seed = options.edgekpi_seed
    if seed is not None and not 0 <= seed < 2**63:
        raise Refused("--edgekpi-seed: expected a whole number from 0 to 2^63 - 1")
    return Setup(
        scenario=scenario,
        seed=scenario.seed if seed is None else seed,
        given_host=str(host),
        target=target,
        kind="emulated" if os.environ.get("EDGEKPI_KIND") == "emulated" else "live",
        token=os.environ.get("EDGEKPI_TOKEN") or None,
        out=Path(options.edgekpi_out or Path("reports/out") / f"{scenario.name}-load"),
        quiet=options.edgekpi_quiet,
        required=required,
        notes=notes,
    )


def _overrides(options: Namespace, target: Target) -> list[str]:
    """The user's overrides, between what the default scenario lacks and what the guard demands."""
    overrides = [] if options.scenario else list(READS_ONLY)
    overrides += options.overrides
    if options.window_s is not None:
        overrides.append(f"measure.window_s={options.window_s}")
    if target.is_foreign:
        overrides.append(NO_EVENTS)
    return overrides


def _required(scenario: Scenario, target: Target) -> tuple[list[str], list[str]]:
    """The KPIs that count, and what to tell about it."""
    required = list(scenario.kpis.required)
    if not target.is_foreign:
        return required, []
    kept = [name for name in required if name not in NEED_EVENTS]
    if not kept:
        raise Refused("on a host that is not this machine only reads are sent: no KPI is left")
    note = f"{target.name} is not this machine: only reads were sent"
    if kept != required:
        dropped = ", ".join(name for name in required if name not in kept)
        note += f", and {dropped} did not count"
    return kept, [note]
