"""Secrets of a run: from the environment into requests, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from loadtest._guard import Refused

MASK = "***"


class Secrets:
    """The values of some environment variables; what prints this prints names only.

    Raises:
        Refused: for each variable that is not set, is empty, or is more than one line.
    """

    def __init__(self, names: Iterable[str], environment: Mapping[str, str] = os.environ) -> None:
        self._values = {name: environment.get(name, "") for name in names}
        problems = [
            f"environment variable {name} is not set, and the scenario's target needs it"
            if not value
            else f"environment variable {name}: expected one line of printable characters"
            for name, value in self._values.items()
            if not value.isprintable() or not value
        ]
        if problems:
            raise Refused(*problems)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"

    def mask(self, text: str) -> str:
        """``text`` with every secret in it replaced, the longest first."""
        for value in sorted(self._values.values(), key=len, reverse=True):
            text = text.replace(value, MASK)
        return text
