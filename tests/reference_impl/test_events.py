"""Events: every odd body is refused by name, equal events have one identity."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.d1.schema import JOURNEY_COLUMNS
from reference_impl.events import Event, InvalidEvent, parse_event

GOOD: dict[str, Any] = {
    "user_id": "u1",
    "event_name": "touch",
    "utm_source": "google",
    "event_timestamp": "2026-01-31T12:00:00.000Z",
    "position": 3,
    "conversion_id": "c1",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""),
        ("user_id", None),
        ("user_id", 7),
        ("user_id", "x" * 129),
        ("user_id", "\ud800"),
        ("event_id", ""),
        ("event_name", ["touch"]),
        ("utm_source", "x" * 257),
        ("utm_term", 1),
        ("event_timestamp", None),
        ("event_timestamp", True),
        ("event_timestamp", 1.5),
        ("event_timestamp", "yesterday"),
        ("event_timestamp", "2026-01-31T12:00:00"),
        ("event_timestamp", "0001-01-01T00:00:00+05:00"),
        ("event_timestamp", {}),
        ("position", -1),
        ("position", 1_000_001),
        ("position", True),
        ("position", 1.5),
        ("position", "1"),
        ("conversion_id", ""),
        ("conversion_id", 0),
        ("__proto__", {}),
        ("created_at", "2026-01-31T12:00:00.000Z"),
        ("id", 1),
    ],
)
def test_d09_an_odd_field_is_refused_by_name(field: str, value: Any) -> None:
    """The message begins with the field that is wrong, and with no other."""
    with pytest.raises(InvalidEvent) as refused:
        parse_event({**GOOD, field: value})
    assert str(refused.value).startswith(f"{field}: ")
    assert "; " not in str(refused.value)


@pytest.mark.parametrize("field", ["user_id", "event_name", "event_timestamp"])
def test_d09_a_missing_field_is_named(field: str) -> None:
    """What the schema needs has to be there."""
    body = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(InvalidEvent, match=rf"^{field}: Field required$"):
        parse_event(body)


def test_all_problems_come_at_once() -> None:
    """One message for each wrong field, at most twenty."""
    with pytest.raises(InvalidEvent) as refused:
        parse_event({"user_id": 1, "event_name": "", "event_timestamp": "x", "position": -1})
    fields = [problem.split(":")[0] for problem in str(refused.value).split("; ")]
    assert fields == ["user_id", "event_name", "event_timestamp", "position"]
    with pytest.raises(InvalidEvent) as refused:
        parse_event({**GOOD, **{f"x{i}": i for i in range(100)}})
    assert len(str(refused.value).split("; ")) == 20


@given(json_values)
def test_any_json_is_an_event_or_refused(body: Any) -> None:
    """Nothing but InvalidEvent comes out of a wrong body, and it can be put into JSON."""
    with pytest.raises(InvalidEvent) as refused:
        parse_event(body)
    assert json.dumps(str(refused.value))


@given(st.sampled_from(sorted(Event.model_fields)), json_values)
def test_any_json_in_a_field_is_an_event_or_refused(field: str, value: Any) -> None:
    """A field with anything in it either makes a row of the right length or is refused."""
    refusal = ""
    try:
        event = parse_event({**GOOD, field: value})
    except InvalidEvent as refused:
        refusal = str(refused)
    assert refusal.startswith(field) if refusal else len(event.row("")) == len(JOURNEY_COLUMNS)


def test_row_has_the_columns_of_the_schema() -> None:
    """Each value stands where the INSERT expects it."""
    row = dict(
        zip(JOURNEY_COLUMNS, parse_event({**GOOD, "event_id": "e1"}).row("now"), strict=True)
    )
    expected = {**dict.fromkeys(JOURNEY_COLUMNS), **GOOD, "event_id": "e1", "created_at": "now"}
    assert row == expected


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T13:00:00.000+01:00",
        "20260131T120000Z",
        1_769_860_800_000,
    ],
)
def test_d11_one_instant_has_one_identity(value: str | int) -> None:
    """The same event in another notation of its time is the same row."""
    event = parse_event({**GOOD, "event_timestamp": value})
    assert event.event_timestamp == "2026-01-31T12:00:00.000Z"
    assert event.identity() == parse_event(GOOD).identity()


def test_d13_identity_is_the_given_one_or_the_whole_content() -> None:
    """An event without an ID differs from another in any field, and repeats itself exactly."""
    assert parse_event({**GOOD, "event_id": "e1"}).identity() == "e1"
    variants = [GOOD, {**GOOD, "position": 4}, {**GOOD, "user_id": "u2"}, {**GOOD, "utm_term": ""}]
    identities = [parse_event(body).identity() for body in variants]
    assert len(dict.fromkeys(identities)) == len(variants)
    assert identities[0] == parse_event(dict(reversed(GOOD.items()))).identity()


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON has one kind of number: ``3.0`` is 3, for a position and for milliseconds."""
    at_ms = {"position": 3, "event_timestamp": 1_769_860_800_000}
    with_points = {name: float(value) for name, value in at_ms.items()}
    assert parse_event({**GOOD, **with_points}) == parse_event({**GOOD, **at_ms})
