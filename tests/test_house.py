"""Rules of the house that no other tool holds, and papers that agree with the program."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgekpi
from scenarios.loader import load

ROOT = Path(__file__).parents[1]
ROOMS = ("reference_impl", "scenarios", "sim", "loadtest", "reports", "tests", "benchmarks")
SOURCES = sorted([ROOT / "edgekpi.py", *(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))])
PAPERS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("scenarios/*/*.yaml")]
)
MAX_LINES = 400
MAX_FUNCTION_LINES = 50


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_of(paper: str) -> str:
    """What stands in code fences and between single backticks."""
    text = (ROOT / paper).read_text()
    fences = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*fences, *re.findall(r"`([^`\n]+)`", rest)])


def commands() -> dict[str, argparse.ArgumentParser]:
    """The program's commands by name."""
    for action in edgekpi.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("the program has no commands")


# --------------------------------------------------------------------------- sources


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    """At most 400 lines, and no function over 50."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("path", [*SOURCES, *PAPERS], ids=name)
def test_nothing_is_left_to_do_or_bound_to_one_machine(path: Path) -> None:
    """No note to oneself, no placeholder, no absolute path of whoever wrote it."""
    if path == Path(__file__):
        return
    found = re.findall(
        r"\b(?:TODO|FIXME|XXX|HACK)\b|@@|(?:/home|/root|/work|/Users)/\S+", path.read_text()
    )
    assert found == []


def undocumented() -> Iterator[str]:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            if isinstance(node, ast.FunctionDef) and is_test and ast.get_docstring(node) is None:
                yield f"{name(path)}: {node.name}"


def test_every_test_states_its_property() -> None:
    """In its docstring."""
    assert list(undocumented()) == []


def test_every_test_is_collected() -> None:
    """pytest takes ``test_*.py``; no test stands in a file of another name, none is a package."""
    helpers = [path for path in (ROOT / "tests").rglob("*.py") if not path.name.startswith("test_")]
    hidden = [name(path) for path in helpers if re.search(r"^def test_", path.read_text(), re.M)]
    assert hidden == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_helper_of_the_tests_is_used() -> None:
    """A helper that nobody imports or starts is left over."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    helpers = [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if not path.name.startswith("test_") and path.name != "conftest.py"
    ]
    used = re.compile(r"^from tests[\w.]* import .*$|\"\w+\.py\"|\"tests[\w.]*\"", re.M)
    words = {
        word for text in texts for use in used.findall(text) for word in re.findall(r"\w+", use)
    }
    assert [name(path) for path in helpers if path.stem not in words] == []


# --------------------------------------------------------------------------- papers


def test_the_papers_are_there() -> None:
    """What a repository needs, and the licence that the package names."""
    for paper in ("README.md", "DESIGN.md", "CHANGELOG.md", "LICENSE", "Makefile", ".ci/run"):
        assert (ROOT / paper).stat().st_size > 0
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert list((ROOT / "scenarios" / "data").glob("NOTICE*"))


def test_the_readme_names_make_targets_that_exist() -> None:
    """Every ``make x`` in it is a target, and every target is in ``make help``."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    named = set(re.findall(r"\bmake ([a-z]+)", code_of("README.md")))
    assert {"run", "test"} <= named <= targets
    assert targets == set(re.findall(r"^([a-z]+):.* ## ", makefile, re.M))


def test_the_readme_names_the_commands_of_the_program() -> None:
    """All of them and no others, and every option it names is known to some command."""
    told = code_of("README.md")
    assert set(re.findall(r"\bedgekpi ([a-z]+)", told)) == commands().keys()
    options = {
        option
        for parser in commands().values()
        for action in parser._actions
        for option in action.option_strings
    }
    for line in told.splitlines():
        if line.startswith("edgekpi "):
            assert set(re.findall(r"(?<!\S)\[?(--[a-z0-9-]+)", line)) <= options


def test_the_readme_s_scenario_is_one() -> None:
    """What a reader copies from it is accepted."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    assert load(example).name
