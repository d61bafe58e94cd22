"""The commands that only ask: ``edgekpi check``; and the scenario that every command is given."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reports.cli import Commands, Parser, WrongInput

if TYPE_CHECKING:
    from scenarios.schema import Scenario

EXAMPLE = "measure.window_s=60"


def add_to(commands: Commands) -> None:
    """Add this room's commands."""
    about = "validate a scenario and say in a paragraph what it asks"
    add_scenario(commands.add("check", check, about))


def check(options: argparse.Namespace) -> int:
    """Validate a scenario and say what it asks."""
    from scenarios.describe import describe, warnings

    scenario = scenario_of(options)
    print(describe(scenario))
    for warning in warnings(scenario):
        print(f"warning: {warning}")
    return 0


def add_scenario(
    parser: Parser, default: str | None = None, about: str = "file or bundled name"
) -> None:
    """The SCENARIO and its overrides; without a ``default`` it must be given."""
    parser.add_argument(
        "scenario", nargs="?" if default else None, default=default, metavar="SCENARIO", help=about
    )
    how = f"override a value, like {EXAMPLE}; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help=how)


def scenario_of(options: argparse.Namespace) -> Scenario:
    """The scenario that the options name, overrides applied.

    Raises:
        WrongInput: with every problem of it.
    """
    from scenarios.loader import ScenarioError, load

    try:
        return load(options.scenario, options.set)
    except ScenarioError as error:
        raise WrongInput(*error.problems) from None
