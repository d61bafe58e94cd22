"""How a scenario says where and how another deployment is asked, and what it must not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scenarios.headers import SIGNED_FIELDS
from scenarios.loader import ScenarioError, load
from scenarios.schema import Scenario
from scenarios.target import EVENT_FIELDS, LOOKUP_FIELDS, Target


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as refusal:
        load(f"name: x\n{text}")
    return refusal.value.problems


def test_without_a_target_our_own_paths_are_asked() -> None:
    """Nothing needs to be said for a server of ours."""
    mapped = Scenario().target
    assert (mapped.attribution.method, mapped.attribution.expect) == ("GET", (200,))
    assert (mapped.tracking.method, mapped.tracking.expect) == ("POST", (202,))
    assert mapped.secrets() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('path: "/p/{conversionid}"', "path: unknown field {conversionid}; did you mean 'conv"),
        ('path: "/p/{event_id}"', "path: unknown field {event_id}"),
        ('path: "/p/{conversion_id"', "path: a brace alone"),
        ('path: "/p/{conversion_id!r}"', "path: {conversion_id} takes no format"),
        ('path: "/p/{conversion_id:>9}"', "path: {conversion_id} takes no format"),
        ("path: p", "path: expected /path?query"),
        ("path: /a b", "path: expected /path?query"),
        ("path: /a#b", "path: expected /path?query"),
        ("host: ftp://a", "host: expected http://name:port"),
        ("host: http://me:secret@a", "host: no user or password here"),
        ("body_text: hi", "body_text: a GET has no body"),
        ("{method: POST, body_text: a, body_form: {}}", "body_text: there is body_form"),
        ("{method: POST, body_json: {a: [1, '{x}']}}", "body_json.a.1: unknown field {x}"),
        ("method: DELETE", "method: expected 'GET' or 'POST'"),
        ("expect: [20]", "expect.0: expected a number greater than or equal to 100"),
        ("expect: []", "expect: expected at least one"),
        ("headers: {Host: a}", "headers.Host: Host is set by this program"),
        ("headers: {x-edgekpi-run: a}", "headers.x-edgekpi-run: x-edgekpi-run is set by"),
        ('headers: {"A B": a}', "headers.A B: expected the name of a header"),
        ("headers: {A: a, a: b}", "headers: 'a' is listed twice"),
        ("headers: {A: {}}", "headers.A: expected one of value, env and hmac_sha256"),
        ("headers: {A: {hmac_sha256: a}}", "headers.A: hmac_sha256 and secret_env belong"),
        ('headers: {A: {env: "a b"}}', "headers.A.env: expected the name of an environment"),
        ('headers: {A: "{event_id}"}', "headers.A: unknown field {event_id}"),
        ('headers: {A: "a\\nb"}', "headers.A: a header is one line"),
        ("headers: {X-Api-Key: abc}", "headers: X-Api-Key looks like a secret"),
        ("headers: {authorization: abc}", "headers: authorization looks like a secret"),
        ("bla: 1", "bla: unknown field"),
    ],
)
def test_what_is_wrong_with_a_route_is_told_at_its_field(text: str, expected: str) -> None:
    """With line and place, before anything is sent."""
    inner = text if text.startswith("{") else f"{{{text}}}"
    (problem,) = problems(f"target:\n  attribution: {inner}")
    assert problem.startswith(f"<text>:3: target.attribution.{expected}")


def test_a_literal_secret_is_not_repeated_in_the_message() -> None:
    """Messages end in logs."""
    for wrong in ("headers: {Cookie: hunter2}", 'auth: {env: "hunter2 "}'):
        assert "hunter2" not in problems(f"target:\n  {wrong}")[0]


@pytest.mark.parametrize(
    "event",
    [
        'method: GET, path: "/pixel?e={event_id}"',
        'body_json: {id: "{event_id}"}',
        'body_form: {source: "{utm_source}"}',
        "body_text: hi",
    ],
)
def test_an_event_that_could_not_be_found_again_is_refused(event: str) -> None:
    """Its ID and its source must be in it, wherever; in a body of ours they are."""
    (problem,) = problems(f"target:\n  tracking: {{{event}}}")
    assert problem.startswith("<text>:3: target.tracking: the event must carry {")
    whole = '{method: GET, path: "/pixel?e={event_id}&s={utm_source}"}'
    assert load(f"name: x\ntarget: {{tracking: {whole}}}").target.tracking.reads


def test_own_headers_win_over_those_of_all_in_any_case() -> None:
    """And each secret is named once, by its variable."""
    mapped = load(
        """
target:
  auth: {env: TOKEN}
  headers: {X-A: all, X-B: "{timestamp_s}"}
  tracking: {headers: {x-a: own, AUTHORIZATION: {env: OTHER}}}
"""
    ).target
    lookup, event = mapped.headers_of(mapped.attribution), mapped.headers_of(mapped.tracking)
    assert {name: (h.value, h.env, h.prefix) for name, h in lookup.items()} == {
        "X-A": ("all", None, ""),
        "X-B": ("{timestamp_s}", None, ""),
        "Authorization": (None, "TOKEN", "Bearer "),
    }
    assert set(event) == {"x-a", "X-B", "AUTHORIZATION"}
    assert mapped.secrets() == ["OTHER", "TOKEN"]


def test_headers_of_all_may_name_only_what_every_request_has() -> None:
    """An event has no model, a look-up no event ID."""
    (problem,) = problems('target: {headers: {X: "{event_id}"}}')
    assert problem.startswith("<text>:2: target.headers.X: unknown field {event_id}")


def test_the_effective_target_can_be_read_back() -> None:
    """As every part of a record's settings."""
    mapped = load(
        'target: {headers: {A: b}, tracking: {body_json: {a: ["{event_id}", "{utm_source}"]}}}\n'
    ).target
    assert Target.model_validate(mapped.model_dump(mode="json")) == mapped


def test_undo_knows_the_run_only() -> None:
    """The statement is about all events of a run."""
    (problem,) = problems('target: {undo: "DELETE {event_id}"}')
    assert problem.startswith("<text>:2: target.undo: unknown field {event_id}")


def test_the_page_says_what_is_so() -> None:
    """Its scenario is one, and its table has every field, each for the requests that have it."""
    page = (Path(__file__).parents[2] / "docs" / "any-deployment.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.S | re.M)
    assert load(example).target.tracking.expect == (204,)
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", page, re.M)
    told: dict[str, set[str]] = {}
    for names, where in rows:
        told.setdefault(where, set()).update(re.findall(r"`(\w+)`", names))
    assert told["all"] | told["look-ups"] == set(LOOKUP_FIELDS)
    assert told["all"] | told["events"] == set(EVENT_FIELDS)
    assert told["`hmac_sha256`"] == set(SIGNED_FIELDS)
