"""The commands on saved runs: ``gate``, ``compare``, ``report`` and ``baseline``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reports.cli import Commands, Function, Parser, WrongInput, whole

if TYPE_CHECKING:
    from reports.effects import MinEffect
    from reports.gate import GateVerdict, Rules
    from reports.record import RunRecord

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
PAIRS = 1000


def add_to(commands: Commands, self_test: Function) -> None:
    """Add this room's commands; ``self_test`` is what ``gate --self-test`` does."""

    def gate_or_test(options: argparse.Namespace) -> int:
        return self_test(options) if options.self_test else gate(options)

    _add_gate(commands.add("gate", gate_or_test, "judge saved runs, alone or against a baseline"))
    comparing = commands.add("compare", compare, "say what has changed between two saved runs")
    comparing.add_argument("run", nargs=2, metavar="RUN", help="the older one first")
    _add_weighing(comparing)
    comparing.add_argument("--json", action="store_true", help="the changes as JSON on stdout")
    telling = commands.add("report", report, "table and page of saved runs, side by side")
    telling.add_argument("run", nargs="+", metavar="RUN", help=_RUN)
    telling.add_argument("--out", metavar="DIR", help="default: the folder of the first run")
    telling.add_argument(
        "--json", action="store_true", help="the verdict on stdout, everything else on stderr"
    )
    _add_baseline(commands.add("baseline", baseline, "make a run the baseline, or show them"))


def gate(options: argparse.Namespace) -> int:
    """Judge saved runs by their limits and against a baseline."""
    from reports.gate import gate as judge_build

    if not options.run:
        raise WrongInput("gate: name a RUN, its folder or its file")
    rules = rules_of(options)
    records = _records(options.run)
    before = None if options.baseline is None else _records(options.baseline)
    with _as_wrong_input():
        verdict = judge_build(records, before, rules)
    _write_files(verdict, options)
    return _tell_gate(verdict, options.json)


def compare(options: argparse.Namespace) -> int:
    """Say what has changed between two runs, whatever they were asked."""
    from reports.changes import asked_of, decide, find
    from reports.fingerprint import setting_differences, version_differences
    from reports.gate_table import print_changes
    from reports.pools import Pool
    from reports.table import make_console
    from reports.verdict import judge

    old, new = _records(options.run)
    if old.kind != new.kind:
        raise WrongInput(f"one is {old.kind}, the other {new.kind}: edgekpi run compares worlds")
    findings = find(Pool([new]), Pool([old]), asked_of(judge(new)))
    changes = decide(findings, options.alpha, _min_effects(options))
    differences = [*setting_differences(new, old), *version_differences(new, old)]
    if options.json:
        told = {"differences": differences, "kpis": {c.kpi.name: c.to_json() for c in changes}}
        print(json.dumps(told))
        return 0
    for difference in differences or ["the same settings and versions"]:
        print(difference)
    print()
    print_changes(changes, make_console(sys.stdout))
    return 0


def report(options: argparse.Namespace) -> int:
    """Judge saved runs again and write their page."""
    from reports.tell import tell
    from reports.verdict import judge

    records = _records(options.run)
    if len({record.scenario for record in records}) > 1:
        raise WrongInput("report: these are runs of different scenarios, give them one at a time")
    first = Path(options.run[0])
    out = Path(options.out or (first if first.is_dir() else first.parent))
    return tell([(record, judge(record)) for record in records], out, options.json)


def baseline(options: argparse.Namespace) -> int:
    """Make runs the baseline, or show what the baselines are."""
    from reports.baseline import FOLDER, load_runs, promote
    from reports.pools import pools_of

    folder = Path(options.folder or FOLDER)
    if options.action == "promote":
        if not options.path:
            raise WrongInput("baseline promote: name a RUN, its folder or its file")
        with _as_wrong_input():
            written = promote(load_runs(options.path), folder, add=options.add)
        for path in written:
            print(path)
        return 0
    with _as_wrong_input():
        for pool in pools_of(load_runs(options.path or [folder])):
            made = pool.records[0].provenance
            versions = ", ".join(f"{name} {value}" for name, value in sorted(made.items()))
            print(f"{pool.name}: {pool.describe()}; {versions}")
    return 0


# --------------------------------------------------------------------------- steps


def _records(paths: list[str]) -> list[RunRecord]:
    from reports.baseline import load_runs

    with _as_wrong_input():
        return load_runs(paths)


@contextmanager
def _as_wrong_input() -> Iterator[None]:
    """What is wrong with records and options, in the words of whoever found it."""
    from reports.pools import PoolError
    from reports.record import RecordError

    try:
        yield
    except (PoolError, RecordError, ValueError) as error:
        raise WrongInput(str(error)) from None


def rules_of(options: argparse.Namespace) -> Rules:
    """How strict the gate is to be. Raises :class:`WrongInput` naming the option."""
    from reports.effects import parse_limits
    from reports.gate import Rules

    with _as_wrong_input():
        limits = parse_limits(options.limit)
    allow = frozenset(options.allow)
    return Rules(options.alpha, _min_effects(options), limits, options.fail_on, allow)


def _min_effects(options: argparse.Namespace) -> dict[str, MinEffect]:
    from reports.effects import parse_min_effects

    with _as_wrong_input():
        return parse_min_effects(options.min_effect)


def _write_files(verdict: GateVerdict, options: argparse.Namespace) -> None:
    from reports.junit import junit_xml
    from reports.markdown import markdown
    from reports.record import write_atomically

    if options.junit:
        write_atomically(Path(options.junit), junit_xml(verdict))
    if options.markdown:
        _write_markdown(Path(options.markdown), markdown(verdict))


def _write_markdown(path: Path, text: str) -> None:
    """Whole, except for a step summary, to which each command of a step adds its own."""
    from reports.record import write_atomically

    summary = os.environ.get(STEP_SUMMARY)
    if summary and Path(summary) == path:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        write_atomically(path, text)


def _tell_gate(verdict: GateVerdict, as_json: bool) -> int:
    from reports.gate_table import print_gate
    from reports.table import make_console

    stream = sys.stderr if as_json else sys.stdout
    print_gate(verdict, make_console(stream))
    print(f"\n{verdict.last_line}", file=stream)
    if as_json:
        print(json.dumps(verdict.to_json()))
    return verdict.code


# --------------------------------------------------------------------------- options

_RUN = "a run.json, its folder, or a baseline"


def _add_gate(parser: Parser) -> None:
    parser.add_argument("run", nargs="*", metavar="RUN", help=_RUN)
    against = "what to compare with: runs, a baseline, or a folder of them; without it, limits only"
    parser.add_argument("--baseline", nargs="+", metavar="RUN|FILE", help=against)
    _add_weighing(parser)
    limit = "judge by this limit instead of the run's, as d1_query_p95=40:80; repeatable"
    parser.add_argument(
        "--limit", action="append", default=[], metavar="KPI=TARGET[:ALERT]", help=limit
    )
    parser.add_argument(
        "--fail-on",
        choices=["missed", "alert"],
        default="missed",
        help="which side of a limit stops the build: its target (default) or its alert",
    )
    allowed = (
        "let through what only more data decides, or compare with a baseline of other versions"
    )
    parser.add_argument(
        "--allow", action="append", default=[], choices=["inconclusive", "versions"], help=allowed
    )
    parser.add_argument("--junit", metavar="FILE", help="write the verdict as JUnit XML")
    into = f"write it as Markdown; the file named by {STEP_SUMMARY} is added to"
    parser.add_argument("--markdown", metavar="FILE", help=into)
    parser.add_argument(
        "--json", action="store_true", help="the verdict on stdout, everything else on stderr"
    )
    itself = "measure the gate on builds without a change, and with known ones; some minutes"
    parser.add_argument("--self-test", action="store_true", help=itself)
    pairs = f"how many builds without a change --self-test judges (default: {PAIRS})"
    parser.add_argument("--pairs", type=whole(1), default=PAIRS, metavar="N", help=pairs)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_weighing(parser: Parser) -> None:
    bound = "share of builds without a change that may be called changed (default: 0.01)"
    parser.add_argument("--alpha", type=_share, default=0.01, metavar="P", help=bound)
    least = "the least change that matters, as d1_query_p95=5%% or 2%% for all; repeatable"
    parser.add_argument(
        "--min-effect", action="append", default=[], metavar="[KPI=]AMOUNT", help=least
    )


def _add_baseline(parser: Parser) -> None:
    parser.add_argument("action", choices=["promote", "show"], help="what to do")
    parser.add_argument("path", nargs="*", metavar="RUN", help=_RUN)
    parser.add_argument("--folder", metavar="DIR", help="default: reports/baselines")
    parser.add_argument(
        "--add", action="store_true", help="add to the runs of the baseline, do not replace them"
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 0.5:
        raise argparse.ArgumentTypeError("expected a share above 0 and up to 0.5")
    return share
