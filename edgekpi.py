"""edgekpi: know whether an edge stack meets its KPIs, before you deploy and after."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from reports.record import RunRecord
    from reports.verdict import Verdict
    from scenarios.schema import Scenario

NOT_VALID, WRONG_INPUT = 22, 23
CORRECT = "nothing was run; correct the above"
REPLICATIONS = 5
DEFAULT_SERVED = "smoke/tiny"
DEFAULT_PORT = 8787
EXAMPLE = "measure.window_s=60"

EPILOG = """\
exit codes, and the words that go with them:
   0  pass          the target of every required KPI is met
  20  missed, alert a target is not met; the system's own errors are among these
  21  inconclusive, no-data  too few or too noisy samples, or nothing measured it
  22  not valid     the run itself failed: load not offered, nobody ever answered, Ctrl-C
  23  wrong input   scenario, record or option

a SCENARIO is a file, or the name of a bundled one such as steady/baseline
"""


class WrongInput(Exception):
    """One message for each thing that is wrong with what was given."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except WrongInput as wrong:
        for problem in wrong.problems:
            print(problem, file=sys.stderr)
        print(f"{WRONG_INPUT} wrong input: {CORRECT}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print(f"{NOT_VALID} not valid: interrupted", file=sys.stderr)
        return NOT_VALID
    except OSError as error:  # a full disk, a folder that has gone
        print(f"{NOT_VALID} not valid: {error}", file=sys.stderr)
        return NOT_VALID
    return code


# --------------------------------------------------------------------------- commands


def check(options: argparse.Namespace) -> int:
    """Validate a scenario and say what it asks."""
    from scenarios.describe import describe, warnings

    scenario = _scenario(options)
    print(describe(scenario))
    for warning in warnings(scenario):
        print(f"warning: {warning}")
    return 0


def simulate(options: argparse.Namespace) -> int:
    """Answer a scenario in virtual time."""
    scenario = _scenario(options)
    seed = scenario.seed if options.seed is None else options.seed
    out = _out(options, scenario, "simulated")
    run = _simulate(scenario, seed, options.replications, out, options.quiet)
    return _tell([run], out, options.json)


def serve(options: argparse.Namespace) -> int:
    """Serve the stack until it is stopped."""
    from reference_impl.adapters.server import listen
    from reference_impl.adapters.server import serve as serve_app
    from sim.serve import embedded, emulated

    scenario = _scenario(options)
    token = os.environ.get("EDGEKPI_TOKEN")
    try:
        listening = listen(options.host, options.port)
    except OSError as error:
        raise WrongInput(f"--host {options.host} --port {options.port}: {error.strerror}") from None
    make_app = emulated(scenario, token) if options.emulate else embedded(scenario, token)
    host, port = listening.getsockname()[:2]
    print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    if not token:
        print(
            "EDGEKPI_TOKEN is not set: /api/performance/* will refuse everyone, and queue and "
            "memory cannot be measured",
            file=sys.stderr,
        )
    with suppress(KeyboardInterrupt):  # the usual way to end it
        serve_app(make_app, listening)
    return 0


def load(options: argparse.Namespace) -> int:
    """Answer a scenario against a server: ours on this machine, or the one named."""
    scenario = _scenario(options)
    out = _out(options, scenario, "live" if options.host else "emulated")
    run = _load(options, scenario, out)
    return _left_nothing(run) if isinstance(run, int) else _tell([run], out, options.json)


def run_both(options: argparse.Namespace) -> int:
    """Answer a scenario in both worlds, side by side."""
    from reports.samples import agreement
    from reports.samples import load as load_samples

    scenario = _scenario(options)
    out = _out(options, scenario, "both")
    simulated = _simulate(scenario, scenario.seed, REPLICATIONS, out / "simulated", options.quiet)
    if simulated[0].invalid:  # interrupted
        return _tell([simulated], out, options.json)
    options.host = None
    emulated = _load(options, scenario, out / "emulated")
    if isinstance(emulated, int):
        return _left_nothing(emulated)
    tables = [load_samples(out / world / "samples.npz") for world in ("simulated", "emulated")]
    return _tell([simulated, emulated], out, options.json, agreement(*tables))


# --------------------------------------------------------------------------- steps


def _scenario(options: argparse.Namespace) -> Scenario:
    from scenarios.loader import ScenarioError
    from scenarios.loader import load as load_scenario

    try:
        return load_scenario(options.scenario, options.set)
    except ScenarioError as error:
        raise WrongInput(*error.problems) from None


Run = tuple["RunRecord", "Verdict"]


def _simulate(scenario: Scenario, seed: int, replications: int, out: Path, quiet: bool) -> Run:
    from reports.progress import Counter
    from scenarios.plan import Plan
    from sim.simulate import simulate

    planned = Plan(scenario, seed, 1).expected_requests() * replications
    with Counter("simulating", planned, quiet=quiet) as counter:
        record, samples = simulate(scenario, seed, replications, counter.advance)
    out.mkdir(parents=True, exist_ok=True)
    samples.save(out)
    return _judge_and_save(record, out)


def _judge_and_save(record: RunRecord, out: Path) -> Run:
    from reports.verdict import judge

    record.save(out)
    return record, judge(record)


def _load(options: argparse.Namespace, scenario: Scenario, out: Path) -> Run | int:
    """The run of Locust, or its exit code when it left no record."""
    from loadtest._launch import EmulatedServer, ServerFailed, run_locust

    arguments = ["--scenario", options.scenario, "--edgekpi-out", str(out)]
    arguments += ["--loglevel", "WARNING"]
    for override in options.set:
        arguments += ["--set", override]
    if options.quiet:
        arguments.append("--edgekpi-quiet")
    if getattr(options, "i_own_this_host", None):
        arguments += ["--i-own-this-host", options.i_own_this_host]
    started_ns = time.time_ns()
    if options.host:
        code = run_locust([*arguments, "--host", options.host], {})
    else:
        try:
            with EmulatedServer(_serve_command(options)) as server:
                known = {"EDGEKPI_TOKEN": server.token, "EDGEKPI_KIND": "emulated"}
                code = run_locust([*arguments, "--host", server.url], known)
        except ServerFailed as error:
            print(error, file=sys.stderr)
            return NOT_VALID
    return _recorded_since(started_ns, out) or code


def _left_nothing(code: int) -> int:
    """The last line of a load test that left no record, and its exit code."""
    if code == WRONG_INPUT:
        print(f"{WRONG_INPUT} wrong input: {CORRECT}", file=sys.stderr)
        return WRONG_INPUT
    print(f"{NOT_VALID} not valid: there is no record, for the reason above", file=sys.stderr)
    return NOT_VALID


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


def _serve_command(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "edgekpi", "serve", options.scenario, "--emulate"]
    for override in options.set:
        command += ["--set", override]
    return [*command, "--port", "0"]


def _tell(runs: list[Run], out: Path, as_json: bool, agree: dict[str, object] | None = None) -> int:
    """Write the report, print the table, the verdict as JSON if asked, and the last line."""
    from reports.html import write_report
    from reports.table import make_console, print_agreement, print_runs
    from reports.verdict import worse

    report = out / "report.html"
    write_report(report, [record for record, _ in runs], [verdict for _, verdict in runs], agree)
    stream = sys.stderr if as_json else sys.stdout
    console = make_console(stream)
    print_runs(runs, console)
    if agree is not None:
        print_agreement(agree, console)
    verdict = runs[0][1] if len(runs) == 1 else worse(runs[0][1], runs[1][1])
    print(f"\nReport: {report}", file=stream)
    print(verdict.last_line, file=stream)
    if as_json:
        answers = [verdict.to_json() for _, verdict in runs]
        print(json.dumps(answers[0] if len(answers) == 1 else answers))
    return verdict.code


def _out(options: argparse.Namespace, scenario: Scenario, world: str) -> Path:
    """The folder to write into, made now: a run must not fail for it at its end."""
    out = Path(options.out or Path("reports", "out", f"{scenario.name}-{world}"))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongInput(f"--out {out}: {error.strerror}") from None
    return out


# --------------------------------------------------------------------------- options


class _Parser(argparse.ArgumentParser):
    """Wrong options leave with our own code: argparse's 2 could be anything else's."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: {message}\n{WRONG_INPUT} wrong input: see --help\n")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="edgekpi", description=__doc__, epilog=EPILOG, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, function: Callable[[argparse.Namespace], int], about: str) -> _Parser:
        own: _Parser = commands.add_parser(
            name, help=about, description=about, epilog=EPILOG, formatter_class=raw
        )
        own.set_defaults(command=function)
        how = f"override a value, like {EXAMPLE}; repeatable"
        own.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help=how)
        return own

    _add_scenario(
        command("check", check, "validate a scenario and say in a paragraph what it asks")
    )
    _add_seeds(command("simulate", simulate, "answer a scenario in virtual time"))
    _add_place(command("serve", serve, "serve the stack over HTTP, embedded KV and SQLite"))
    _add_target(command("load", load, "answer a scenario against a server, with Locust"))
    _add_output(command("run", run_both, "simulate, load our emulated server, compare, report"))
    return parser


def _add_scenario(parser: _Parser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO", help="file or bundled name")


def _add_seeds(parser: _Parser) -> None:
    _add_output(parser)
    parser.add_argument("--seed", type=_whole(0), metavar="N", help="instead of the scenario's")
    how_many = f"independent runs with seeds SEED, SEED+1, ... (default: {REPLICATIONS})"
    parser.add_argument(
        "--replications", type=_whole(1), default=REPLICATIONS, metavar="N", help=how_many
    )


def _add_place(parser: _Parser) -> None:
    whose = f"whose journeys are served (default: {DEFAULT_SERVED})"
    parser.add_argument(
        "scenario", nargs="?", default=DEFAULT_SERVED, metavar="SCENARIO", help=whose
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="default: 127.0.0.1")
    where = f"default: {DEFAULT_PORT}; 0 takes a free one"
    parser.add_argument(
        "--port", type=_whole(0, 65535), default=DEFAULT_PORT, metavar="P", help=where
    )
    in_front = "put the scenario's network, KV, D1 and queue in front"
    parser.add_argument("--emulate", action="store_true", help=in_front)


def _add_target(parser: _Parser) -> None:
    _add_output(parser)
    whom = "the deployment; without it our server is started with --emulate"
    parser.add_argument("--host", metavar="URL", help=whom)
    again = "repeat the name in --host if it is not this machine; reads only"
    parser.add_argument("--i-own-this-host", metavar="HOST", help=again)


def _add_output(parser: _Parser) -> None:
    _add_scenario(parser)
    parser.add_argument("--out", metavar="DIR", help="default: reports/out/<scenario>-<world>")
    parser.add_argument(
        "--json", action="store_true", help="the verdict on stdout, everything else on stderr"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


if __name__ == "__main__":
    sys.exit(main())
