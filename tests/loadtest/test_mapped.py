"""What goes over the wire to a deployment that is not ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest._dispatch import Arrival
from loadtest._guard import Refused
from loadtest._messages import Message, Messages
from scenarios.journeys import Conversion
from scenarios.plan import ATTRIBUTION, TRACKING
from tests.loadtest.setups import HERE, setup

WALL_US = 1_767_225_600_123_456
IDS = [Conversion("a/b ü?", "me"), Conversion("c", "you")]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes the request of one arrival under a ``target:`` section."""

    def message(target: str, route: int, key: int = 0, attributed: bool = False) -> Message:
        file = tmp_path / "asked.yaml"
        file.write_text(f"name: asked\ntarget: {target}\n")
        messages = Messages(setup(f"{HERE}/base", scenario=str(file)), IDS, "run7")
        return messages.write(Arrival(42, 0, route, key, attributed, 0), WALL_US)

    return message


def split(message: Message) -> tuple[str, dict[str, str], str]:
    head, _, body = message.payload.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


def test_values_in_a_path_are_percent_encoded(write: Any) -> None:
    """An ID is data: it can neither end the path nor the line."""
    asked = write('{attribution: {path: "/v1/{conversion_id}?u={user_id}", expect: [200, 203]}}', 0)
    first, headers, body = split(asked)
    assert first == "GET /base/v1/a%2Fb%20%C3%BC%3F?u=me HTTP/1.1"
    assert (headers["X-EdgeKPI-Run"], headers["X-EdgeKPI-Number"]) == ("run7", "42")
    assert (asked.route, asked.expected, asked.name, body) == ("attribution", (200, 203), "/v1", "")


def test_a_look_up_may_be_posted(write: Any) -> None:
    """As GraphQL wants it; braces are doubled."""
    target = """{attribution: {method: POST, path: /graphql, body_json:
      {query: "{{path(id: $id)}}", variables: {id: "{conversion_id}", n: "{number}", m: 1}}}}"""
    first, headers, body = split(write(target, ATTRIBUTION))
    assert first == "POST /base/graphql HTTP/1.1"
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(body)
    variables = {"id": "a/b ü?", "n": 42, "m": 1}
    assert json.loads(body) == {"query": "{path(id: $id)}", "variables": variables}


def test_a_member_without_a_value_is_left_out(write: Any) -> None:
    """An event that touches no conversion does not name an empty one."""
    target = """{tracking: {body_json:
      {id: "{event_id}", to: ["{utm_source}", "{conversion_id}"], c: "{conversion_id}"}}}"""
    _, _, without = split(write(target, TRACKING, 7))
    _, _, touching = split(write(target, TRACKING, 1, attributed=True))
    assert json.loads(without) == {"id": "edgekpi-run7-42", "to": ["edgekpi-email"]}
    assert json.loads(touching)["c"] == "c"
    assert json.loads(touching)["to"] == ["edgekpi-email", "c"]


def test_a_form_is_encoded(write: Any) -> None:
    """Whatever is in it."""
    target = '{tracking: {body_form: {"e e": "{event_id}&", s: "{utm_source}"}}}'
    _, headers, body = split(write(target, TRACKING))
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert body == "e+e=edgekpi-run7-42%26&s=edgekpi-email"


def test_a_text_and_its_own_content_type(write: Any) -> None:
    """The scenario's headers win over ours, and no header is there twice."""
    target = """{tracking: {body_text: "{event_id} {utm_source}\\n",
      headers: {content-type: application/x-ndjson, user-agent: mine}}}"""
    _, headers, body = split(write(target, TRACKING))
    assert body == "edgekpi-run7-42 edgekpi-email\n"
    assert (headers["content-type"], headers["user-agent"]) == ("application/x-ndjson", "mine")
    assert {"Content-Type", "User-Agent"}.isdisjoint(headers)


def test_an_event_may_be_a_pixel(write: Any) -> None:
    """A GET without body or content type."""
    target = '{tracking: {method: GET, path: "/p.gif?e={event_id}&s={utm_source}", expect: [204]}}'
    first, headers, body = split(write(target, TRACKING))
    assert first == "GET /base/p.gif?e=edgekpi-run7-42&s=edgekpi-email HTTP/1.1"
    assert "Content-Length" not in headers
    assert body == ""


def test_signed_time_stamps(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HMAC covers what the template names, as it is sent, under the secret's value."""
    monkeypatch.setenv("SIGNING_KEY", "s3cret")
    target = """{headers: {X-Time: "{timestamp_s}", X-Signature: {secret_env: SIGNING_KEY,
      hmac_sha256: "{method} {path} {timestamp_s} {body}", encoding: base64, prefix: "v1="}}}"""
    _, headers, body = split(write(target, TRACKING))
    signed = f"POST /base/track 1767225600 {body}".encode()
    mac = hmac.new(b"s3cret", signed, hashlib.sha256).digest()
    assert headers["X-Time"] == "1767225600"
    assert headers["X-Signature"] == f"v1={base64.b64encode(mac).decode()}"


def test_authentication_comes_from_the_environment(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bearer token, or in any header; the last value that was set is the one in use."""
    monkeypatch.setenv("API_TOKEN", "t0ken")
    _, headers, _ = split(write("{auth: {env: API_TOKEN}}", ATTRIBUTION))
    assert headers["Authorization"] == "Bearer t0ken"
    own = '{auth: {env: API_TOKEN, header: X-Key, prefix: ""}}'
    assert split(write(own, ATTRIBUTION))[1]["X-Key"] == "t0ken"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "environment variable API_TOKEN is not set"),
        ("", "environment variable API_TOKEN is not set"),
        ("two\r\nX-Evil: lines", "environment variable API_TOKEN: expected one line"),
    ],
)
def test_a_secret_that_cannot_be_sent_is_wrong_input(
    write: Any, monkeypatch: pytest.MonkeyPatch, value: str | None, sentence: str
) -> None:
    """Said by its name, never with its value."""
    monkeypatch.delenv("API_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("API_TOKEN", value)
    with pytest.raises(Refused) as refusal:
        write("{auth: {env: API_TOKEN}}", ATTRIBUTION)
    assert sentence in refusal.value.problems[0]
    assert "Evil" not in str(refusal.value)


def test_a_secret_is_in_nothing_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the checked setup nor in the settings that become the record."""
    monkeypatch.setenv("API_TOKEN", "t0ken")
    monkeypatch.setenv("EDGEKPI_TOKEN", "t0ken too")
    file = tmp_path / "asked.yaml"
    file.write_text("name: asked\ntarget: {auth: {env: API_TOKEN}}\n")
    checked = setup("http://me:t0ken@127.0.0.1", scenario=str(file))
    for shown in (repr(checked), str(checked.secrets), checked.scenario.model_dump_json()):
        assert "t0ken" not in shown
    assert "bWU6dDBrZW4" not in repr(checked)
    assert checked.secrets.mask("a t0ken, twice t0ken") == "a ***, twice ***"
