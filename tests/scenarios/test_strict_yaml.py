"""The strict reader: what plain words mean, what is refused, and on which line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.strict_yaml import parse, parse_value, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-5", -5),
        ("1.50", 1.5),
        ("true", True),
        ("null", None),
        ("", None),
        ("linear", "linear"),
        ("3d", "3d"),
        ("y", "y"),
    ],
)
def test_plain_words(text: str, value: Any) -> None:
    """Numbers, true, false, null, and everything else is text."""
    assert plain(text) == value
    assert type(plain(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("010", "quote it"),
        ("0x1f", "quote it"),
        ("0o17", "quote it"),
        ("1_000", "quote it"),
        ("12:30", "quote it"),
        ("2026-01-01", "quote it"),
        ("+5", "quote it"),
        (".5", "quote it"),
        ("5.", "quote it"),
        (".inf", "quote it"),
        ("-.NaN", "quote it"),
        ("1e999", "quote it"),
        ("1e3", "write 1000 instead"),
        ("1.5E-2", "write 0.015 instead"),
        ("no", "write true or false"),
        ("Yes", "write true or false"),
        ("ON", "write true or false"),
        ("off", "write true or false"),
        ("9" * 19, "at most 18"),
    ],
)
def test_ambiguous_words(text: str, message: str) -> None:
    """What readers of YAML disagree about is refused with what to write instead."""
    with pytest.raises(ValueError, match=message):
        plain(text)


@pytest.mark.parametrize("text", ["010", "no", "1e3", "12:30", "null", "5"])
def test_quoted_words_are_text(text: str) -> None:
    """Quotes say that text is meant."""
    document = parse(f"a: '{text}'\nb: \"{text}\"\n")
    assert document.value == {"a": text, "b": text}
    assert document.problems == []


PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text("abc xyz-", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcdef", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=5), PLAIN_VALUES, min_size=1))
@settings(max_examples=40, deadline=None)
def test_what_is_accepted_means_what_yaml_means(value: dict[str, Any]) -> None:
    """Where nothing is refused, the value is the one of the reference reader."""
    text = yaml.safe_dump(value)
    assert yaml.safe_load(text) == value
    document = parse(text)
    assert document.problems == []
    assert document.value == value


def test_lines_of_fields_and_entries() -> None:
    """Every place knows its line."""
    document = parse("a:\n  b: 1\n  c:\n    - x\n    - y\n")
    assert document.line_of(("a",)) == 1
    assert document.line_of(("a", "b")) == 2
    assert document.line_of(("a", "c", 1)) == 5
    assert document.line_of(("a", "c", 1, "nowhere")) == 5
    assert document.line_of(("z",)) == 1


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "the file is empty", 1),
        ("# only a comment\n", "the file is empty", 1),
        ("\n- a\n", "at the top", 2),
        ("5\n", "at the top", 1),
        ("a: 1\na: 2\n", "given twice, first on line 1", 2),
        ("a: &x 1\nb: *x\n", "anchors and aliases", 1),
        ("a: 1\nb: *x\n", "anchors and aliases", 2),
        ("a: !!python/name:os.system x\n", "tag", 1),
        ("a: !!str 5\n", "tag", 1),
        ("a: 1\n---\nb: 2\n", "one document", 2),
        ("a: 1\nb: c: d\n", "not YAML", 2),
        ("a: 1\nb: \x01\n", "control character", 2),
        ("? [a]\n: b\n", "plain text", 1),
        ("[" * 10_000, "nested deeper", 1),
    ],
)
def test_refused_documents(text: str, message: str, line: int) -> None:
    """Each refusal names its line."""
    document = parse(text)
    (problem,) = document.problems
    assert message in problem.text
    assert (problem.line or document.line_of(problem.loc)) == line


def test_all_problems_of_a_document_are_found() -> None:
    """One reading reports everything that can be read on."""
    document = parse("a: 010\nb: yes\nc: {d: 1e3, d: 2}\n")
    assert [problem.loc for problem in document.problems] == [
        ("a",),
        ("b",),
        ("c", "d"),
        ("c", "d"),
    ]


def test_a_value_of_the_command_line() -> None:
    """Any value may be given, lists and fields included."""
    assert parse_value("{p50: 1, p99: 2.5}").value == {"p50": 1, "p99": 2.5}
    assert parse_value("").value is None
    assert parse_value("[a").problems
