"""``edgekpi simulate SCENARIO --vary PATH=a,b,c``: one run a value, a line for each."""

from __future__ import annotations

import argparse
import json
import re
import sys

from reports.cli import NOT_VALID, WrongInput, output_folder
from reports.sweep import Line, last_line, print_lines, warnings
from reports.table import make_console
from scenarios.commands import scenario_of
from scenarios.schema import Scenario
from sim.into_folder import simulate_into


def vary(options: argparse.Namespace) -> int:
    """Simulate each value and print its line. All values are checked before the first is run.

    0 when all ran, whatever their verdicts; 22 when one of the runs is not valid.
    """
    if options.warmup:
        raise WrongInput("--vary and --warmup auto do not go together: lines need one window")
    path, values = _parse(options.vary)
    scenarios = {value: _with(options, path, value) for value in values}
    first = scenarios[values[0]]
    seed = first.seed if options.seed is None else options.seed
    out = output_folder(options.out, f"{first.name}-vary")
    lines: list[Line] = []
    for value, scenario in scenarios.items():
        folder = out / re.sub(r"[^\w.=-]+", "_", f"{path}={value}")
        record, verdict = simulate_into(folder, scenario, seed, options.replications, options.quiet)
        lines.append(Line(value, record, verdict))
        if record.invalid:  # interrupted, or a law is broken: the other lines would be no better
            break
    return _tell(path, lines, list(first.kpis.limits), options.json)


def _parse(text: str) -> tuple[str, list[str]]:
    """The setting and its values; commas within brackets belong to a value."""
    path, equals, rest = text.partition("=")
    values = [value.strip() for value in re.split(r",(?![^\[{]*[\]}])", rest)]
    if not (path.strip() and equals and all(values)):
        raise WrongInput(f"--vary {text}: expected PATH=A,B,... such as l1.ttl_s=5,10,30")
    if len(set(values)) < len(values):
        raise WrongInput(f"--vary {text}: a value is listed twice")
    return path.strip(), values


def _with(options: argparse.Namespace, path: str, value: str) -> Scenario:
    own = argparse.Namespace(**vars(options))
    own.set = [*options.set, f"{path}={value}"]
    return scenario_of(own)


def _tell(path: str, lines: list[Line], limits: list[str], as_json: bool) -> int:
    stream = sys.stderr if as_json else sys.stdout
    print_lines(path, lines, make_console(stream))
    for warning in warnings(path, limits):
        print(f"\nwarning: {warning}", file=stream)
    invalid = [line for line in lines if line.record.invalid]
    code = NOT_VALID if invalid else 0
    end = f"{NOT_VALID} not valid {path}={lines[-1].value}: {'; '.join(lines[-1].record.invalid)}"
    print(f"\n{end if invalid else f'0 done: {last_line(lines)}'}", file=stream)
    if as_json:
        print(json.dumps([line.to_json(path, lines[0]) for line in lines]))
    return code
