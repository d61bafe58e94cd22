"""A tracking event: the columns of ``user_journeys``, validated and bounded."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from reference_impl.times import MAX_MS, parse


def _whole(value: Any) -> Any:
    """``7.0`` is the whole number 7 in JSON, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one_format(value: Any) -> str:
    value = _whole(value)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return parse(value)
    raise ValueError("expected an ISO 8601 text or milliseconds since 1970")


MAX_NAME = 128
"""Characters of an ID or an event's name (assumption; keeps rows and keys small)."""

MAX_EVENTS = 100
"""Events of one post: as many as Queues takes in one batch of messages,
https://developers.cloudflare.com/queues/platform/limits/."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Label = Annotated[str, StringConstraints(max_length=256)] | None
Time = Annotated[
    str,
    BeforeValidator(_one_format),
    WithJsonSchema(
        {
            "description": "ISO 8601 with its zone, or milliseconds since 1970.",
            "oneOf": [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "minimum": 0, "maximum": MAX_MS},
            ],
        }
    ),
]


class Event(BaseModel):
    """One event as a client posts it; unknown fields are refused.

    ``event_id`` makes a repeated post harmless. Without one it is derived from the whole content,
    so that an identical event counts once.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    user_id: Name
    event_id: Name | None = None
    event_name: Name
    utm_source: Label = None
    utm_medium: Label = None
    utm_campaign: Label = None
    utm_term: Label = None
    utm_content: Label = None
    event_timestamp: Time
    position: Annotated[
        Annotated[int, Field(ge=0, le=1_000_000)] | None, BeforeValidator(_whole)
    ] = None
    conversion_id: Name | None = None

    def identity(self) -> str:
        """The given ``event_id``, or a digest of everything that was posted."""
        if self.event_id is not None:
            return self.event_id
        return "sha256-" + hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def row(self, created_at: str) -> tuple[str | int | None, ...]:
        """The values of :data:`schema.JOURNEY_COLUMNS`, in that order."""
        return (
            self.user_id,
            self.identity(),
            self.event_name,
            self.utm_source,
            self.utm_medium,
            self.utm_campaign,
            self.utm_term,
            self.utm_content,
            self.event_timestamp,
            self.position,
            self.conversion_id,
            created_at,
        )


class InvalidEvent(ValueError):
    """An event was refused; the message names every field and what was expected."""


def parse_event(body: Any) -> Event:
    """The event in a decoded JSON body.

    Raises:
        InvalidEvent: with one ``field: reason`` for each problem.
    """
    try:
        return Event.model_validate(body)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'event'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False)
        ]
        raise InvalidEvent("; ".join(problems[:20])) from None


def parse_events(body: Any) -> list[Event]:
    """The events in a decoded JSON body: one object, or a list of 1 to :data:`MAX_EVENTS`.

    Raises:
        InvalidEvent: with every problem of the first event that has any; no other counts then.
    """
    if not isinstance(body, list):
        return [parse_event(body)]
    if not 1 <= len(body) <= MAX_EVENTS:
        raise InvalidEvent(f"expected 1 to {MAX_EVENTS} events, not {len(body)}")
    events = []
    for index, each in enumerate(body):
        try:
            events.append(parse_event(each))
        except InvalidEvent as error:
            raise InvalidEvent(f"event {index}: {error}") from None
    return events
