"""``edgekpi load``: the load test in a process of its own, for a named host or our own server.

``edgekpi plan`` writes what it would send, for other load generators.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reports.cli import (
    CORRECT,
    NOT_VALID,
    WRONG_INPUT,
    Commands,
    Parser,
    WrongInput,
    add_output,
    output_folder,
    whole,
)
from reports.files import whole_file
from scenarios.commands import add_scenario, scenario_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.tell import Run
    from scenarios.journeys import Conversion
    from scenarios.schema import Scenario


def add_to(commands: Commands) -> None:
    """Add this room's commands."""
    _add_load(commands.add("load", load, "answer a scenario against a server, with Locust"))
    _add_plan(commands.add("plan", plan, "write what a load test would send, and when"))


def load(options: argparse.Namespace) -> int:
    """Answer a scenario against a server: ours on this machine, or the one named."""
    from reports.tell import tell

    scenario = scenario_of(options)
    world = "live" if options.host else "emulated"
    out = output_folder(options.out, f"{scenario.name}-{world}")
    if options.dry_run:
        return play(out, options)
    run = load_into(out, options)
    return left_nothing(run) if isinstance(run, int) else tell([run], out, options.json)


def load_into(out: Path, options: argparse.Namespace) -> Run | int:
    """The run of Locust with its record in ``out``, or its exit code when it left none."""
    started_ns = time.time_ns()
    code = play(out, options)
    return _recorded_since(started_ns, out) or code


def play(out: Path, options: argparse.Namespace) -> int:
    """Run Locust against the host named, or against our server for as long as it takes."""
    from loadtest._launch import EmulatedServer, ServerFailed, run_locust

    arguments = ["--scenario", options.scenario, "--edgekpi-out", str(out)]
    arguments += ["--loglevel", "WARNING"]
    for override in options.set:
        arguments += ["--set", override]
    if options.quiet:
        arguments.append("--edgekpi-quiet")
    for name in getattr(options, "i_own_this_host", []):
        arguments += ["--i-own-this-host", name]
    for option in ("raw", "processes", "closed", "think_time"):
        if (value := getattr(options, option, None)) is not None:
            arguments += [f"--{option.replace('_', '-')}", str(value)]
    dry_run = getattr(options, "dry_run", False)
    if dry_run:
        arguments.append("--dry-run")
    host = getattr(options, "host", None)
    if host:
        return run_locust([*arguments, "--host", host], {}, shown=dry_run)
    try:
        with EmulatedServer(serve_command(options)) as server:
            known = {"EDGEKPI_TOKEN": server.token, "EDGEKPI_KIND": "emulated"}
            return run_locust([*arguments, "--host", server.url], known, shown=dry_run)
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return NOT_VALID


def plan(options: argparse.Namespace) -> int:
    """Write the requests of a scenario's plan as CSV."""
    from loadtest._plan import requests_of, write_csv
    from reports.progress import Counter
    from scenarios.plan import Plan

    scenario = scenario_of(options)
    conversions = _conversions(options, scenario)
    seed = scenario.seed if options.seed is None else options.seed
    expected = Plan(scenario, seed, len(conversions)).expected_requests()
    with Counter("planning", expected, quiet=options.quiet) as counter:
        planned = requests_of(scenario, seed, conversions)
        if options.csv is None:
            try:
                write_csv(sys.stdout, planned, counter.advance)
                sys.stdout.flush()
            except BrokenPipeError:  # `| head` has seen enough; nothing is left to be flushed
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            with whole_file(Path(options.csv)) as file:
                write_csv(file, planned, counter.advance)
    return 0


def _conversions(options: argparse.Namespace, scenario: Scenario) -> Sequence[Conversion]:
    from scenarios.ids import read_ids
    from scenarios.journeys import load_population
    from scenarios.loader import ScenarioError, find

    if scenario.population.csv is None:
        return load_population(scenario.data).conversions
    try:
        return read_ids(scenario.population, find(options.scenario).parent)
    except ScenarioError as error:
        raise WrongInput(*error.problems) from None


def left_nothing(code: int) -> int:
    """The last line of a load test that left no record, and its exit code."""
    if code == WRONG_INPUT:
        print(f"{WRONG_INPUT} wrong input: {CORRECT}", file=sys.stderr)
        return WRONG_INPUT
    print(f"{NOT_VALID} not valid: there is no record, for the reason above", file=sys.stderr)
    return NOT_VALID


def serve_command(options: argparse.Namespace) -> list[str]:
    """What starts our server with the scenario's world in front, on a free port."""
    command = [sys.executable, "-m", "edgekpi", "serve", options.scenario, "--emulate"]
    for override in options.set:
        command += ["--set", override]
    return [*command, "--port", "0"]


def _recorded_since(started_ns: int, out: Path) -> Run | None:
    """What a run that began at ``started_ns`` left in ``out``; never an older run's record."""
    from reports.record import RecordError
    from reports.record import load as load_record
    from reports.verdict import judge

    path = out / "run.json"
    if not path.exists() or path.stat().st_mtime_ns < started_ns:
        return None
    try:
        record = load_record(path)
    except RecordError as error:
        print(error, file=sys.stderr)
        return None
    return record, judge(record)


def _add_load(parser: Parser) -> None:
    add_scenario(parser)
    add_output(parser)
    whom = "the deployment; without it our server is started with --emulate"
    parser.add_argument("--host", metavar="URL", help=whom)
    again = "repeat the name of a host that is not this machine; once for each"
    parser.add_argument(
        "--i-own-this-host", metavar="HOST", action="append", default=[], help=again
    )
    many = "generators to spread the plan over, about one for each 1,000 requests a second"
    parser.add_argument("--processes", type=whole(1), metavar="N", help=many)
    users = "so many users who wait for each answer, instead of open arrivals: see the docs"
    parser.add_argument("--closed", type=whole(1), metavar="USERS", help=users)
    think = "seconds between an answer and the same user's next request"
    parser.add_argument("--think-time", type=float, metavar="S", help=think)
    one = "send one request of each kind and show what would be recorded"
    parser.add_argument("--dry-run", action="store_true", help=one)
    raw = "write every request, warm-up included, as CSV"
    parser.add_argument("--raw", metavar="FILE", help=raw)


def _add_plan(parser: Parser) -> None:
    add_scenario(parser)
    parser.add_argument("--seed", type=whole(0), metavar="N", help="instead of the scenario's")
    where = "the file to write; without a name, or without the option, standard output"
    parser.add_argument("--csv", nargs="?", metavar="FILE", help=where)
    parser.add_argument("--quiet", action="store_true", help="no progress")
