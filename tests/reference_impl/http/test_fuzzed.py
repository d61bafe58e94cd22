"""What the description promises, tried with what it allows and with what it does not.

Schemathesis makes the requests and judges the answers; the server runs in this process, on one
event loop, with whatever earlier requests have left in it. The same requests in every run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)

from reference_impl.config import StackConfig
from reference_impl.http.openapi import description
from reference_impl.http.resource import MAX_BODY_BYTES
from tests.reference_impl.site import AUTH, TOKEN, is_problem, open_site

EXAMPLES = 40
JSON = "application/json"
SETTINGS = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
RESULTS = list(schemathesis.openapi.from_dict(description()).get_all_operations())
OPERATIONS = {each.ok().label: each.ok() for each in RESULTS if isinstance(each, Ok)}


def needs_token(label: str) -> bool:
    return "security" in OPERATIONS[label].definition.raw


def asks_besides(case: Case[Any]) -> bool:
    """Whether the query has a parameter that is not described, which nobody looks at."""
    described = {each["name"] for each in case.operation.definition.raw.get("parameters", ())}
    return not described.issuperset(case.query or {})


def takes_something(label: str) -> bool:
    return not {"requestBody", "parameters"}.isdisjoint(OPERATIONS[label].definition.raw)


class Server:
    """The embedded deployment, asked from outside its event loop."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, url, **options))

    def send(self, case: Case[Any], headers: dict[str, str]) -> httpx.Response:
        """The request of ``case`` and its answer."""
        parts = case.as_transport_kwargs(base_url="http://edge", headers=headers)
        body = parts.get("data")
        if "json" in parts:
            body = json.dumps(parts["json"]).encode()
        options = {"params": parts.get("params"), "headers": dict(parts["headers"])}
        return self.ask(parts["method"], parts["url"], content=body, **options)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with asyncio.Runner() as runner:
        # Nobody waits for KV's second between two writes of a key.
        opening = open_site(quiet=True, config=StackConfig(kv_write_spacing_us=0))
        site = runner.run(opening.__aenter__())
        yield Server(runner, site.client)
        runner.run(opening.__aexit__(None, None, None))


SAYS_LESS = {
    "POST /api/performance/cache-invalidate",
    "GET /api/queue/dead-letters",
    "POST /api/queue/dead-letters/replay",
}
"""Where the description allows more than is taken: it can only count characters where KV counts
the bytes of a key, and what can be the ID of a message is the queue's to say."""


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
    + [(label, GenerationMode.NEGATIVE) for label in OPERATIONS if takes_something(label)],
)
def test_every_answer_is_as_described(server: Server, label: str, mode: GenerationMode) -> None:
    """Status, type, headers and body; what is as described is taken, what is not is refused, and
    nothing is a 5xx."""
    strategy = OPERATIONS[label].as_strategy(generation_mode=mode)
    excluded = [ignored_auth]
    if label in SAYS_LESS:
        excluded.append(positive_data_acceptance)

    @given(strategy.filter(lambda case: case.media_type in (None, JSON)))
    @SETTINGS
    def play(case: Case[Any]) -> None:
        answer = server.send(case, AUTH)
        # Schemathesis does not know that 413 is a refusal, and wants a name too many refused.
        taken = answer.status_code == 413 or asks_besides(case)
        besides = [negative_data_rejection] if taken else []
        case.validate_response(answer, excluded_checks=[*excluded, *besides])

    play()


@pytest.mark.parametrize("label", [name for name in OPERATIONS if needs_token(name)])
def test_without_the_token_whatever_is_asked_is_401(server: Server, label: str) -> None:
    """Before anything else of the request is looked at."""

    @given(
        OPERATIONS[label].as_strategy(media_type=JSON if label.startswith("POST") else None),
        st.sampled_from(["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "bearer \x00"]),
    )
    @SETTINGS
    def play(case: Case[Any], authorization: str) -> None:
        assert is_problem(server.send(case, {"authorization": authorization}), 401)

    play()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize("label", [name for name in OPERATIONS if name.startswith("POST")])
def test_any_body_has_an_answer_of_the_description(server: Server, label: str) -> None:
    """Any JSON, any bytes, any length around the limit."""
    method, path = label.split()
    described = {int(status) for status in OPERATIONS[label].definition.raw["responses"]}
    lengths = st.integers(MAX_BODY_BYTES - 2, MAX_BODY_BYTES + 2).map(lambda size: b"1" * size)
    bodies = json_values.map(lambda value: json.dumps(value).encode()) | st.binary() | lengths

    @given(bodies, st.sampled_from([JSON, "text/plain", "text/html", "application/json; x=y"]))
    @SETTINGS
    def play(body: bytes, media_type: str) -> None:
        headers = {**AUTH, "content-type": media_type}
        answer = server.ask(method, path, content=body, headers=headers)
        assert answer.status_code in described
        assert answer.status_code < 500
        assert answer.is_success or is_problem(answer, answer.status_code)

    play()


@given(st.text(min_size=1), st.text(), st.text())
@SETTINGS
def test_any_name_has_an_answer(server: Server, name: str, model: str, limit: str) -> None:
    """Odd conversions, models and limits: found, refused or not there."""
    path = f"/api/attribution/{quote(name.encode('utf-8', 'replace'), safe='')}"
    answer = server.ask("GET", path, params={"model": model})
    assert answer.status_code in (200, 400, 404)
    known = server.ask("GET", path)
    assert known.status_code in (200, 400, 404)
    channels = server.ask("GET", "/api/channels", params={"limit": limit})
    assert channels.status_code in (200, 400)
