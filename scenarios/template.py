"""Text with places in it, like ``/clicks/{event_id}``, filled in for each request of a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from string import Formatter
from typing import Any

from pydantic_core import InitErrorDetails

from scenarios.parts import meant
from scenarios.problems import problem

Loc = tuple[str | int, ...]
Place = tuple[Loc, str, tuple[str, ...]]
"""Where a template stands, its text, and the fields it may name."""


class Template:
    """A text whose ``{name}`` stand for fields; ``{{`` and ``}}`` are braces.

    Raises:
        ValueError: for a name that is not ``known``, a brace alone, or anything after the name.
    """

    def __init__(self, text: str, known: Collection[str]) -> None:
        self._parts: list[tuple[str, str | None]] = []
        try:
            parsed = list(Formatter().parse(text))
        except ValueError:
            raise ValueError(f"a brace alone in {text!r}: write {{{{ or }}}} for one") from None
        for literal, name, form, conversion in parsed:
            if form or conversion:
                raise ValueError(f"{{{name}}} takes no format: write the name alone")
            if name is not None and name not in known:
                raise ValueError(f"unknown field {{{name}}}{meant(name, known)}")
            self._parts.append((literal, name))
        self.fields = frozenset(name for _, name in self._parts if name is not None)

    @property
    def single(self) -> str | None:
        """The field that is all of this text, if it is one."""
        if len(self._parts) == 1 and self._parts[0][0] == "":
            return self._parts[0][1]
        return None

    def fill(self, values: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
        """The text with each field's value, ``quote`` applied to it; a missing one is empty."""
        return "".join(
            literal if name is None else literal + quote(values.get(name, ""))
            for literal, name in self._parts
        )


def template_problems(places: Iterable[Place]) -> list[InitErrorDetails]:
    """What is wrong with templates, each at its place."""
    problems = []
    for loc, text, known in places:
        try:
            Template(text, known)
        except ValueError as error:
            problems.append(problem(loc, str(error)))
    return problems


def leaves(loc: Loc, value: Any) -> Iterator[tuple[Loc, str]]:
    """The texts in a JSON value, names of members aside."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for step, member in members:
            yield from leaves((*loc, step), member)
