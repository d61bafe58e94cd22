"""Bodies of requests: JSON, forms and texts whose templates are filled for each one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from scenarios.target import WHOLE_NUMBERS, Route
from scenarios.template import Template

Values = Mapping[str, str]
Body = Callable[[Values], str]

_ABSENT = object()


def body_of(route: Route) -> tuple[str, Body] | None:
    """The content type of a route's body, and what writes one; ``None`` if it states none."""
    fields = route.fields
    if route.body_json is not None:
        tree = _tree(route.body_json, fields)
        return "application/json", lambda values: json.dumps(tree(values))
    if route.body_form is not None:
        pairs = [(name, Template(text, fields)) for name, text in route.body_form.items()]
        return "application/x-www-form-urlencoded", lambda values: urlencode(
            [(name, template.fill(values)) for name, template in pairs]
        )
    if route.body_text is not None:
        template = Template(route.body_text, fields)
        return "text/plain; charset=utf-8", template.fill
    return None


def _tree(value: Any, fields: tuple[str, ...]) -> Callable[[Values], Any]:
    """What makes the JSON value of one request; ``_ABSENT`` for a field that it has not."""
    if isinstance(value, str):
        return _leaf(Template(value, fields))
    if isinstance(value, dict):
        members = {name: _tree(member, fields) for name, member in value.items()}
        return lambda values: {
            name: made for name, make in members.items() if (made := make(values)) is not _ABSENT
        }
    if isinstance(value, list):
        items = [_tree(item, fields) for item in value]
        return lambda values: [made for make in items if (made := make(values)) is not _ABSENT]
    return lambda values: value


def _leaf(template: Template) -> Callable[[Values], Any]:
    name = template.single
    if name is None:
        return template.fill
    if name in WHOLE_NUMBERS:
        return lambda values: int(values[name])
    return lambda values: values.get(name, _ABSENT)
