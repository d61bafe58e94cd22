"""The text of an answer: its form, and that the longest there can be fits into KV."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.adapters.kv_rules import MAX_VALUE_BYTES, check_put
from reference_impl.attribution.answers import attribution_text
from reference_impl.attribution.markov import RemovalEffects
from reference_impl.attribution.models import (
    MAX_TOUCHES,
    MODELS,
    Credit,
    Journey,
    Touch,
    fallback,
)
from reference_impl.events import MAX_NAME, InvalidEvent, parse_event

NOON = "2026-01-31T12:00:00.000Z"
ESCAPED_BYTES = 12
"""Most bytes of one sign in an answer: two halves of a pair, ``\\ud83d\\ude00``."""
LONGEST_LABEL = "\U0001f600" * 256
LONGEST_NAME = "\U0001f600" * MAX_NAME


def test_within_the_bound_nothing_is_said_of_it() -> None:
    """The bytes of an answer to the last, with a note or without."""
    journey = Journey([Touch("a", NOON)])
    touch = (
        '{"touchpoint_index":0,"utm_source":"a","event_timestamp":"2026-01-31T12:00:00.000Z",'
        '"credit_percentage":100.0,"role":"last"}'
    )
    start = '{"conversion_id":"c1","model":"last_click","attribution":[' + touch + "]"
    shares = [Credit(100.0, "last")]
    assert attribution_text("c1", "last_click", journey, shares) == start + "}"
    noted = attribution_text("c1", "last_click", journey, shares, "why")
    assert noted == start + ',"note":"why"}'
    cut = attribution_text("c1", "last_click", Journey(journey.touches, True), shares)
    assert cut == start + ',"truncated":true}'


@pytest.mark.parametrize(("more", "truncated"), [(-1, False), (0, False), (1, True), (9, True)])
def test_a_journey_is_its_latest_touches(more: int, truncated: bool) -> None:
    """As many as the bound; one more is enough to know that there are others."""
    touches = [Touch(str(number), NOON) for number in range(MAX_TOUCHES + more)]
    journey = Journey.of_latest(touches)
    assert journey == Journey(touches[max(more, 0) :], truncated)


@given(st.characters())
def test_no_sign_is_longer_than_an_escaped_pair(sign: str) -> None:
    """So a label of 256 of them is the longest there is."""
    assert len(json.dumps(sign)) - 2 <= ESCAPED_BYTES == len(json.dumps(LONGEST_LABEL[0])) - 2


@pytest.mark.parametrize("model", MODELS)
def test_the_longest_answer_fits_into_kv(model: str) -> None:
    """The longest labels and the longest ID that an event may have, in their longest form, and a
    note that names a channel. An eighth of what KV takes, and the event's own bound is tight."""
    body = {"user_id": "u", "event_name": "e", "event_timestamp": NOON, "utm_source": LONGEST_LABEL}
    event = parse_event({**body, "conversion_id": LONGEST_NAME})
    with pytest.raises(InvalidEvent):
        parse_event({**body, "utm_source": LONGEST_LABEL + "x"})
    touches = [Touch(event.utm_source, event.event_timestamp)] * (MAX_TOUCHES + 1)
    journey = Journey.of_latest(touches)
    note = fallback(journey.touches, RemovalEffects({}, 2))
    assert note is not None
    shares = MODELS[model](journey.touches)
    text = attribution_text(LONGEST_NAME, model, journey, shares, note)
    assert check_put("key", text, 0).value == text
    assert MAX_TOUCHES * 256 * ESCAPED_BYTES < len(text) < MAX_VALUE_BYTES // 7
