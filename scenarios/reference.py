"""Every field of a scenario with its default, unit and source, as one page.

``python -m scenarios.reference`` prints docs/scenario.md; a test holds the file to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from scenarios.parts import LatencyMs, Part
from scenarios.schema import Scenario

UNITS = {
    "zipf_s": "exponent",
    "_per_client_per_s": "a second",
    "_per_isolate_per_s": "requests a second",
    "_per_key_per_s": "writes a second",
    "throughput_per_s": "messages a second",
    "rate_per_s": "requests a second",
    "ns_per_step": "ns a VM step",
    "_us": "us",
    "_ms": "ms",
    "_s": "s",
    "_mib": "MiB",
    "_kib": "KiB",
    "share": "0..1",
    "probability": "0..1",
    "_unseen": "0..1",
    "_cv": "ratio",
    "jitter": "0..1",
    "_ahead": "0..1",
}
"""By the end of a field's name; the first that fits."""

BOUNDS = {"ge": "at least {}", "gt": "over {}", "le": "at most {}", "lt": "under {}"}

HEAD = """# Every field of a scenario

This page is made from the schema by `make docs`; a test keeps it complete. What a file leaves out
has the default given here. A source stands behind each default, or the word *assumption*. A latency
law is `{p50: .., p99: ..}` in ms: lognormal with that median and that 99 % point.

The three lifetimes have three names: `l1.ttl_s` is how long an isolate's memory keeps an entry,
`kv.cache_ttl_s` how long a reader accepts a copy of one (KV's `cacheTtl`), `kv.expiration_ttl_s`
how long the entry itself lives (KV's `expirationTtl`). How they add up:
[staleness.md](staleness.md).
"""


class Row(NamedTuple):
    """One field: its full name, default, unit, bounds, and what it is."""

    name: str
    default: str
    unit: str
    bounds: str
    text: str


def rows(part: type[Part], prefix: str = "") -> Iterator[Row]:
    """The fields of ``part`` and of all parts in it, depth first, in the order of the schema."""
    for name, field in part.model_fields.items():
        inner, many = _inner(field.annotation)
        path = f"{prefix}{name}"
        if inner is None or inner is LatencyMs:
            yield _row(path, field, law=inner is LatencyMs)
            continue
        if many:
            yield _row(path, field, law=False)
        yield from rows(inner, f"{path}{many}.")


def page() -> str:
    """The whole page."""
    sections: dict[str, list[Row]] = {}
    for row in rows(Scenario):
        top, dot, _ = row.name.partition(".")
        sections.setdefault(top.rstrip("[]") if dot else _lone(top), []).append(row)
    parts = [f"## {name}\n\n{_table(found)}" for name, found in sections.items()]
    return "\n".join([HEAD, *parts])


def _lone(name: str) -> str:
    inner, many = _inner(Scenario.model_fields[name].annotation)
    return name if inner is not None and many else "top level"


def _table(found: list[Row]) -> str:
    lines = ["| field | default | unit | bounds | what, and where the default comes from |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| `{row.name}` | {row.default} | {row.unit} | {row.bounds} | {row.text} |"
        for row in found
    ]
    return "\n".join(lines) + "\n"


def _inner(annotation: Any) -> tuple[type[Part] | None, str]:
    """The part that an annotation holds, and how a path into it goes on: once, [] or <name>."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation, ""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin in (Union, UnionType):
        found = [_inner(each) for each in inside[: 1 if origin is Annotated else None]]
        return next((each for each in found if each[0] is not None), (None, ""))
    if origin in (tuple, dict):
        part, _ = _inner(inside[0] if origin is tuple else inside[1])
        return part, "" if part is None else "[]" if origin is tuple else ".<name>"
    return None, ""


def _row(path: str, field: FieldInfo, *, law: bool) -> Row:
    text = (field.description or "").replace("|", "\\|")
    name = path.rpartition(".")[2]
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    return Row(path, _default(field, law=law), unit, "" if law else _bounds(field), text)


def _default(field: FieldInfo, *, law: bool) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, LatencyMs):
        return f"p50 {value.p50:g}, p99 {value.p99:g}"
    return f"`{json.dumps(_plain(value), ensure_ascii=False)}`"


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _bounds(field: FieldInfo) -> str:
    found = []
    for each in field.metadata:
        for name, words in BOUNDS.items():
            bound = getattr(each, name, None)
            if isinstance(bound, int | float):
                found.append(words.format(f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"))
    return ", ".join(found)


if __name__ == "__main__":
    print(page(), end="")
