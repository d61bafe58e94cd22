"""What goes over the wire for one arrival of the plan."""

from __future__ import annotations

import json
from functools import cache

from loadtest._dispatch import Arrival
from loadtest._messages import Message, Messages
from reference_impl.events import parse_event
from scenarios.journeys import Population, load_population
from scenarios.plan import ATTRIBUTION, TRACKING
from scenarios.schema import Data, Scenario
from tests.loadtest.setups import HERE, setup

WALL_US = 1_767_225_600_000_000


@cache
def population() -> Population:
    return load_population(Data(max_paths=20))


def message(route: int, key: int, attributed: bool = False) -> Message:
    messages = Messages(setup(f"{HERE}/base"), population().conversions, "run7")
    return messages.write(Arrival(42, 0, route, key, attributed, 0), WALL_US)


def split(payload: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = payload.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


def test_a_look_up() -> None:
    """The conversion and model of the plan, after the prefix; run, number and node in headers."""
    asked = message(ATTRIBUTION, 3)
    first, headers, body = split(asked.payload)
    conversion_id = population().conversions[3].conversion_id
    assert first == f"GET /base/api/attribution/{conversion_id}?model=linear HTTP/1.1"
    assert headers["Host"] == "127.0.0.1:8787"
    assert headers["X-EdgeKPI-Run"] == "run7"
    assert headers["X-EdgeKPI-Number"] == "42"
    assert headers["X-EdgeKPI-Node"] == Scenario().edge.nodes[0].name
    assert (asked.route, asked.expected, body) == ("attribution", (200,), b"")


def test_an_event_of_a_visitor() -> None:
    """It is one that the stack takes, and can be found again by its ID and source."""
    sent = message(TRACKING, 123)
    first, headers, body = split(sent.payload)
    assert first == "POST /base/track HTTP/1.1"
    assert int(headers["Content-Length"]) == len(body)
    event = parse_event(json.loads(body))
    assert event.event_id == "edgekpi-run7-42"
    assert event.user_id == "visitor-123"
    assert event.conversion_id is None
    assert str(event.utm_source).startswith("edgekpi-")
    assert event.event_timestamp == "2026-01-01T00:00:00.000Z"
    assert (sent.route, sent.expected) == ("tracking", (202,))


def test_an_event_that_touches_a_conversion() -> None:
    """It names the conversion and the user who made it."""
    event = json.loads(split(message(TRACKING, 5, attributed=True).payload)[2])
    conversion = population().conversions[5]
    assert (event["user_id"], event["conversion_id"]) == (
        conversion.user_id,
        conversion.conversion_id,
    )


def test_a_password_goes_into_every_request() -> None:
    """As HTTP Basic, once."""
    asked = setup("http://x:y@127.0.0.1")
    messages = Messages(asked, population().conversions, "run7")
    payload = messages.write(Arrival(1, 0, ATTRIBUTION, 0, False, 0), WALL_US).payload
    assert split(payload)[1]["Authorization"] == "Basic eDp5"
