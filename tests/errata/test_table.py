"""``docs/errata.md`` against the list of probes and against the tests it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parents[1]
PAPER = TESTS.parent / "docs" / "errata.md"

MUST_STAND = {
    "fatal": "A01 A02 A03 C02 C03 C08 C31 D01 E01 E05",
    "wrong": (
        "A04 A05 A06 A08 A09 A10 A11 B01 B02 B03 B05 B06 B08 B09 B11 B12 B13 "
        "C01 C04 C05 C06 C07 C09 C10 C11 C12 C13 C14 C15 C17 C19 C20 C21 C22 C23 C24 C25 C26 C27 "
        "C28 C32 D02 D03 D04 D05 D06 D07 D08 D11 D12 D13 D14 D17 D19 D20 "
        "E02 E03 E06 E07 E08 E09 E13 E17 E19 E20 E21 E22"
    ),
}
"""The probes of the groups A to E in which the original did not work or gave a wrong answer."""


class Line(NamedTuple):
    """One row of the table."""

    id: str
    weight: str
    tests: tuple[str, ...]


@cache
def table() -> list[Line]:
    rows = re.findall(r"^\| ([A-G]\d\d) \| (\w+) \| .+ \| (.+) \|$", PAPER.read_text(), re.M)
    return [Line(id_, weight, tuple(re.findall(r"`(.+?)`", cell))) for id_, weight, cell in rows]


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def ids_in(test: str) -> set[str]:
    """The probes a test is named after."""
    return {found.upper() for found in re.findall(r"(?<=_)[a-g]\d\d(?=_)", test)}


@pytest.mark.parametrize("weight", MUST_STAND)
def test_every_probe_that_went_wrong_stands_in_the_table(weight: str) -> None:
    """All that were fatal and all that were wrong, with their weights, and no other as such."""
    told = sorted(line.id for line in table() if line.weight == weight)
    assert told == sorted(MUST_STAND[weight].split())


@pytest.mark.parametrize("line", table(), ids=lambda line: line.id)
def test_every_line_names_tests_that_exist(line: Line) -> None:
    """One of them is named after the probe."""
    assert line.tests
    for file, _, name in (test.partition("::") for test in line.tests):
        assert name in names_in(TESTS / file), f"{file}::{name}"
    assert any(line.id in ids_in(test) for test in line.tests)


def test_every_test_named_after_a_probe_has_its_line() -> None:
    """No test tells of a probe that the table does not have; no line stands twice."""
    lines = [line.id for line in table()]
    assert sorted(set(lines)) == sorted(lines)
    named = set[str]()
    for path in TESTS.rglob("test_*.py"):
        named = named.union(*(ids_in(test) for test in names_in(path) if test.startswith("test_")))
    assert named <= set(lines)
