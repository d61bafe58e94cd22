"""edgekpi: know whether an edge stack meets its KPIs, before you deploy and after."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import loadtest._commands
import reports.commands
import scenarios.commands
import sim.commands
from reports.cli import (
    CORRECT,
    NOT_VALID,
    WRONG_INPUT,
    Commands,
    Parser,
    WrongInput,
    add_output,
    output_folder,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser().parse_args(arguments)
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


def parser() -> Parser:
    """All commands, each from the room that carries it out."""
    commands = Commands(__doc__)
    for room in (scenarios.commands, sim.commands, loadtest._commands):
        room.add_to(commands)
    reports.commands.add_to(commands, sim.commands.self_test)
    both = commands.add("run", run_both, "simulate, load our emulated server, compare, report")
    scenarios.commands.add_scenario(both)
    add_output(both)
    return commands.parser


def run_both(options: argparse.Namespace) -> int:
    """Answer a scenario in both worlds, side by side."""
    from reports.samples import agreement
    from reports.samples import load as load_samples
    from reports.tell import tell
    from sim.into_folder import simulate_into

    scenario = scenarios.commands.scenario_of(options)
    out = output_folder(options.out, f"{scenario.name}-both")
    simulated = simulate_into(
        out / "simulated", scenario, scenario.seed, sim.commands.REPLICATIONS, options.quiet
    )
    if simulated[0].invalid:  # interrupted
        return tell([simulated], out, options.json)
    emulated = loadtest._commands.load_into(out / "emulated", options)
    if isinstance(emulated, int):
        return loadtest._commands.left_nothing(emulated)
    tables = [load_samples(out / world / "samples.npz") for world in ("simulated", "emulated")]
    return tell([simulated, emulated], out, options.json, agreement(*tables))


if __name__ == "__main__":
    sys.exit(main())
