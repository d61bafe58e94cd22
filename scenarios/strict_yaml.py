"""A strict reader of the part of YAML that a scenario needs, with the line of everything.

YAML 1.1 reads ``010`` as 8, ``12:30`` as 750, ``no`` as false and ``1e3`` as text, and keeps
the later of two equal keys. All of that is refused here with a sentence instead. Tags, anchors
and aliases are refused too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

Loc = tuple[str | int, ...]

MAX_DEPTH = 20
MAX_DIGITS = 18

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_SWITCHES = frozenset({"yes", "no", "on", "off"})
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]{1,2}")
_LIKE_A_NUMBER = re.compile(
    r"[-+]?\.?[0-9][0-9_.:+-]*|[-+]?[0-9.]+[eE][-+]?[0-9]+|[-+]?0[xXoObB][0-9a-fA-F_]+"
)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at ``loc``; ``line`` 0 means the line of that place."""

    loc: Loc
    text: str
    line: int = 0


@dataclass
class Document:
    """What a text said: its plain value (``None`` if unreadable), lines of places, problems."""

    value: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, loc: Loc) -> int:
        """The line of ``loc``, else that of the nearest place around it."""
        inside_out = (loc[:length] for length in range(len(loc), -1, -1))
        return next((self.lines[place] for place in inside_out if place in self.lines), 1)


def parse(text: str) -> Document:
    """Read a document that must be a mapping at its top."""
    document = _read(text)
    if not document.problems and document.value is None:
        document.problems.append(Problem((), "the file is empty, expected fields with values"))
    elif document.value is not None and not isinstance(document.value, dict):
        line = document.line_of(())
        document.value = None
        document.problems.append(Problem((), "expected fields with values at the top", line))
    return document


def parse_value(text: str) -> Document:
    """Read one value, as given on a command line."""
    return _read(text)


def _read(text: str) -> Document:
    document = Document()
    try:
        _Reader(document, yaml.parse(text, Loader=yaml.SafeLoader)).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        document.value = None
        document.problems.append(Problem((), f"not YAML: {error.problem or error.context}", line))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.value = None
        document.problems.append(Problem((), "not YAML: a control character", line))
    except _Refused as refused:
        document.value = None
        document.problems.append(refused.problem)
    return document


class _Refused(Exception):
    """The whole document is refused."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class _Reader:
    """Builds plain values from parser events, top down."""

    def __init__(self, document: Document, events: Iterator[yaml.Event]) -> None:
        self._document = document
        self._events = events

    def read(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        else:
            return
        self._document.value = self._value(next(self._events), ())
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _Refused(Problem((), "one document only, there is a second", _line(after)))

    def _value(self, event: yaml.Event, loc: Loc) -> Any:
        line = _line(event)
        self._document.lines.setdefault(loc, line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused(Problem(loc, "anchors and aliases are refused, write it out", line))
        if tag := getattr(event, "tag", None):
            raise _Refused(Problem(loc, f"the tag {tag} is refused", line))
        if len(loc) > MAX_DEPTH:
            raise _Refused(Problem((), f"nested deeper than {MAX_DEPTH} levels", line))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(loc)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(loc)
        assert isinstance(event, yaml.ScalarEvent)  # the only kind of node that is left
        return self._scalar(event, loc)

    def _mapping(self, loc: Loc) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for event in iter(lambda: next(self._events), None):
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise _Refused(Problem(loc, "a field name must be plain text", _line(event)))
            key, place = event.value, (*loc, event.value)
            if key in result:
                first = self._document.lines[place]
                text = f"given twice, first on line {first}"
                self._document.problems.append(Problem(place, text, _line(event)))
            self._document.lines.setdefault(place, _line(event))
            result[key] = self._value(next(self._events), place)
        return result

    def _sequence(self, loc: Loc) -> list[Any]:
        result: list[Any] = []
        for event in iter(lambda: next(self._events), None):
            if isinstance(event, yaml.SequenceEndEvent):
                break
            result.append(self._value(event, (*loc, len(result))))
        return result

    def _scalar(self, event: yaml.ScalarEvent, loc: Loc) -> Any:
        if not event.implicit[0]:
            return event.value
        try:
            return plain(event.value)
        except ValueError as error:
            self._document.problems.append(Problem(loc, str(error), _line(event)))
            return None


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else mark.line + 1


def plain(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar.

    Raises:
        ValueError: when readers of YAML disagree about it; the message says what to write.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text.lower() in _SWITCHES:
        raise ValueError(f"{text!r} is ambiguous: write true or false, or quote it if it is text")
    if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
        return _number(text)
    if _EXPONENT.fullmatch(text):
        raise ValueError(f"{text!r}: write {Decimal(text):f} instead")
    if _LIKE_A_NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text!r} is not a plain decimal number; quote it if it is text")
    return text


def _number(text: str) -> int | float:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters, at most {MAX_DIGITS}")
    return int(text) if _INTEGER.fullmatch(text) else float(text)
