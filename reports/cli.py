"""What the commands of all rooms share: their parser, wrong input, and where a run is written.

A room adds its commands with :meth:`Commands.add`; ``edgekpi`` puts the rooms together. Command
modules import late, so that ``--help`` is there at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

NOT_VALID, WRONG_INPUT = 22, 23
CORRECT = "nothing was run; correct the above"

EPILOG = """\
exit codes, and the words that go with them:
   0  pass          the target of every required KPI is met
  20  missed, alert, regressed  a target is not met, or a KPI is worse than its baseline
  21  inconclusive, no-data  too few or too noisy samples, nothing measured it, or no such baseline
  22  not valid     the run itself failed: load not offered, nobody ever answered, Ctrl-C
  23  wrong input   scenario, record or option

a SCENARIO is a file, or the name of a bundled one such as steady/baseline
"""

Function = Callable[[argparse.Namespace], int]


class WrongInput(Exception):
    """One message for each thing that is wrong with what was given."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


class Parser(argparse.ArgumentParser):
    """Wrong options leave with our own code: argparse's 2 could be anything else's."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: {message}\n{WRONG_INPUT} wrong input: see --help\n")


class Commands:
    """The program's commands, each added by the room that carries it out."""

    def __init__(self, description: str | None) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        self.parser = Parser(
            prog="edgekpi", description=description, epilog=EPILOG, formatter_class=raw
        )
        self._commands = self.parser.add_subparsers(
            required=True, metavar="COMMAND", parser_class=Parser
        )

    def add(self, name: str, function: Function, about: str) -> Parser:
        """A new command; ``function`` is called with its options and gives the exit code."""
        own: Parser = self._commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.set_defaults(command=function)
        return own


def add_output(parser: Parser, default: str = "reports/out/<scenario>-<world>") -> None:
    """``--out``, ``--json`` and ``--quiet``, which every run takes."""
    parser.add_argument("--out", metavar="DIR", help=f"default: {default}")
    parser.add_argument(
        "--json", action="store_true", help="the verdict on stdout, everything else on stderr"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def output_folder(given: str | None, default: str) -> Path:
    """The folder to write into, made now: a run must not fail for it at its end.

    Raises:
        WrongInput: when it cannot be made.
    """
    out = Path(given or Path("reports", "out", default))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongInput(f"--out {out}: {error.strerror}") from None
    return out


def whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """The type of an option that takes a whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse
