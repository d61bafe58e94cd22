"""From YAML text to a :class:`Scenario`, or to every problem of it at once with its line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scenarios.parts import meant
from scenarios.schema import Scenario
from scenarios.strict_yaml import Document, Loc, Problem, parse, parse_value

MAX_BYTES = 1 << 20
"""A longer file is not a scenario."""


class ScenarioError(Exception):
    """A scenario cannot be used; ``problems`` says all that is wrong, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


def load(path_or_text: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in a file, of a bundled name, or in YAML text (a string of several lines).

    ``overrides`` are ``path=value`` with the path dotted (``edge.nodes.0.share=0.5``) and the
    value in YAML; they win over the file. Checks over several fields run only once every single
    field is right.

    Raises:
        ScenarioError: with every problem as ``file:line: field: what was expected``, or
            ``--set path: what was expected``.
    """
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        source, text = "<text>", path_or_text
    else:
        path = find(str(path_or_text))
        source, text = str(path_or_text), _read(path)
    draft = _Draft(source, parse(text))
    for override in overrides:
        draft.override(override)
    return draft.scenario()


def bundled() -> list[str]:
    """The names of the scenarios that come with the program, such as ``steady/baseline``."""
    folder = _folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in _files(folder))


def find(name: str) -> Path:
    """The file that ``name`` means: a path, else a bundled scenario.

    A bundled one is found from any folder as ``steady/baseline``, with ``.yaml``, and with
    ``scenarios/`` before it.

    Raises:
        ScenarioError: when there is no such file; it names the bundled ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    plain = name.removeprefix("scenarios/").removesuffix(".yaml")
    names = bundled()
    if plain in names:
        return _folder() / f"{plain}.yaml"
    raise ScenarioError([f"{name}: no such file; bundled scenarios: {', '.join(names)}"])


def _folder() -> Path:
    return Path(str(resources.files("scenarios")))


def _files(folder: Path) -> Iterator[Path]:
    return folder.glob("*/*.yaml")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ScenarioError([f"{path}:1: the file is longer than 1 MiB"])
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ScenarioError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScenarioError([f"{path}:{line}: the file is not UTF-8 text"]) from None


@dataclass
class _Draft:
    """A scenario before it is checked: plain values, and where each came from."""

    source: str
    document: Document
    overridden: dict[Loc, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def override(self, text: str) -> None:
        """Apply one ``path=value``."""
        path, equals, value = text.partition("=")
        if not equals or not path:
            self.refused.append(f"--set {text}: expected path=value")
            return
        loc: Loc = tuple(int(step) if step.isdecimal() else step for step in path.split("."))
        given = parse_value(value)
        if given.problems:
            self.refused += [f"--set {path}: {problem.text}" for problem in given.problems]
        elif _put(self.document.value, loc, given.value):
            self.overridden[loc] = path
            self.document.problems = [
                problem for problem in self.document.problems if problem.loc != loc
            ]
        else:
            self.refused.append(f"--set {path}: {_no_such_place(loc)}")

    def scenario(self) -> Scenario:
        """The checked scenario, or ScenarioError with everything that is wrong."""
        problems = [self._place(problem) for problem in self.document.problems]
        if self.document.value is None:
            raise ScenarioError([text for _, text in problems])
        spoilt = [problem.loc for problem in self.document.problems]
        try:
            scenario = Scenario.model_validate(self.document.value)
        except ValidationError as error:
            found = error.errors(include_url=False)
            told = [_problem(details) for details in found if details["loc"] not in spoilt]
            problems += [self._place(problem) for problem in told]
        if problems or self.refused:
            raise ScenarioError([text for _, text in sorted(problems)] + self.refused)
        return scenario

    def _place(self, problem: Problem) -> tuple[int, str]:
        """The line of a problem (after all lines for an override) and what to print."""
        for place, path in self.overridden.items():
            shared = min(len(place), len(problem.loc))
            if shared and place[:shared] == problem.loc[:shared]:
                return sys.maxsize, f"--set {path}: {_named(problem.loc[shared:], problem.text)}"
        line = problem.line or self.document.line_of(problem.loc)
        return line, f"{self.source}:{line}: {_named(problem.loc, problem.text)}"


def _named(loc: Loc, text: str) -> str:
    return f"{'.'.join(map(str, loc))}: {text}" if loc else text


def _problem(details: ErrorDetails) -> Problem:
    """What pydantic found, in the words of this program."""
    loc = tuple(step for step in details["loc"] if step != "[key]")
    return Problem(loc, _expected(details, loc))


def _expected(details: ErrorDetails, loc: Loc) -> str:
    kind, message, given = details["type"], details["msg"], details["input"]
    if kind == "extra_forbidden":
        return f"unknown field{meant(str(loc[-1]), _fields_at(loc[:-1]))}"
    if kind == "missing":
        return "this field is missing"
    if kind in ("value_error", "scenario"):
        return message.removeprefix("Value error, ")
    if kind in ("model_type", "dict_type"):
        return f"expected fields with values, got {_shown(given)}"
    if kind == "tuple_type":
        return f"expected a list, got {_shown(given)}"
    if kind == "string_pattern_mismatch":
        return f"expected lower-case letters, digits, - and _ only, got {_shown(given)}"
    expected = message.replace("Input should be", "expected", 1)
    expected = re.sub("^expected (greater|less)", r"expected a number \1", expected)
    hint = meant(given, _choices(details)) if kind == "literal_error" else ""
    return f"{expected}, got {_shown(given)}{hint if 'did you mean' in hint else ''}"


def _choices(details: ErrorDetails) -> list[str]:
    expected = str(details.get("ctx", {}).get("expected", ""))
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "fields with values"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _no_such_place(loc: Loc) -> str:
    for length, step in enumerate(loc):
        names = _fields_at(loc[:length])
        if names and step not in names:
            return f"unknown field {str(step)!r}{meant(str(step), names)}"
    return "there is no such place in this scenario"


def _fields_at(loc: Loc) -> list[str]:
    """The names of the fields that may stand at ``loc``."""
    kind: Any = Scenario
    for step in loc:
        kind = _inner(kind, step)
    return list(kind.model_fields) if _is_part(kind) else []


def _inner(kind: Any, step: str | int) -> Any:
    """The type found under ``step`` of a value of type ``kind``; ``None`` when unknown."""
    if _is_part(kind):
        known = kind.model_fields.get(step)
        return None if known is None else known.annotation
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _put(root: Any, loc: Loc, value: Any) -> bool:
    """Set the value at ``loc``; what lies on the way and is not there begins as its default."""
    defaults: Any = Scenario().model_dump(mode="json")
    for step in loc[:-1]:
        defaults = _get(defaults, step)
        if isinstance(root, dict) and root.get(str(step)) is None and defaults is not None:
            root[str(step)] = defaults
        root = _get(root, step)
    if isinstance(root, dict):
        root[str(loc[-1])] = value
        return True
    if isinstance(root, list) and isinstance(loc[-1], int) and loc[-1] < len(root):
        root[loc[-1]] = value
        return True
    return False


def _get(holder: Any, step: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(str(step))
    if isinstance(holder, list) and isinstance(step, int) and step < len(holder):
        return holder[step]
    return None
