"""Texts with places in them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.template import Template


@given(st.text(), st.text(), st.text())
def test_a_field_is_replaced_and_all_else_stays(before: str, after: str, value: str) -> None:
    """Whatever the value, braces included: it is never read as a template itself."""
    text = f"{before.replace('{', '{{').replace('}', '}}')}{{a}}"
    text += after.replace("{", "{{").replace("}", "}}")
    template = Template(text, ["a"])
    assert template.fill({"a": value}) == before + value + after
    assert template.fields == {"a"}


@given(st.text())
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """Nothing but ValueError, and without known fields none is used."""
    with suppress(ValueError):
        assert Template(text, []).fields == set()


def test_values_are_quoted_and_literals_are_not() -> None:
    """As a path wants it."""
    assert Template("/a/{x}", ["x"]).fill({"x": "b"}, lambda value: f"<{value}>") == "/a/<b>"


@pytest.mark.parametrize(
    ("text", "name"), [("{a}", "a"), ("{a} ", None), ("x{a}", None), ("{a}{a}", None), ("", None)]
)
def test_a_field_alone_is_known_as_such(text: str, name: str | None) -> None:
    """Where JSON wants a number or nothing."""
    assert Template(text, ["a"]).single == name


def test_a_missing_value_is_empty() -> None:
    """An event that touches no conversion has no ID of one."""
    assert Template("<{a}>", ["a"]).fill({}) == "<>"
