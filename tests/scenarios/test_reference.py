"""docs/scenario.md says of every field what it is, and is what the schema says today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.reference import page, rows
from scenarios.schema import Scenario

ROOT = Path(__file__).parents[2]


def leaves(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of the JSON schema, however deep: another way to the same fields."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for option in schema.get("anyOf", ()):
        yield from leaves(option, root)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from leaves(schema[key], root)
    for name, inner in schema.get("properties", {}).items():
        yield name, inner
        yield from leaves(inner, root)


def test_the_page_is_what_the_schema_says() -> None:
    """If this fails, run ``make docs``."""
    assert (ROOT / "docs" / "scenario.md").read_text() == page()


def test_every_field_is_on_the_page() -> None:
    """Fields as the JSON schema has them, a latency law as one."""
    schema = Scenario.model_json_schema()
    expected = {name for name, _ in leaves(schema, schema)} - {"p50", "p99"}
    told = {word.strip("[]") for row in rows(Scenario) for word in row.name.split(".")}
    assert expected - told == set()


@pytest.mark.parametrize("row", list(rows(Scenario)), ids=lambda row: row.name)
def test_every_field_says_what_it_is(row: Any) -> None:
    """In words; and a number that is a time, a size or a rate has its unit."""
    assert len(row.text) > 5
    if row.name.endswith(("_s", "_ms", "_us", "_mib", "_kib")):
        assert row.unit


def test_the_three_lifetimes_are_three_rows() -> None:
    """Each under its own name, with its default."""
    found = {row.name: row.default for row in rows(Scenario)}
    assert (found["l1.ttl_s"], found["kv.cache_ttl_s"]) == ("`10`", "`60`")
    assert '"attribution": 3600' in found["kv.expiration_ttl_s"]
