"""The HTTP layer over a whole embedded deployment: routes, evidence, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.requests import Request

from reference_impl.http.evidence_headers import decode
from reference_impl.http.resource import MAX_BODY_BYTES, Answer
from reference_impl.messages import Evidence, Layer
from tests.reference_impl.site import (
    AUTH,
    EVENT,
    INVALIDATE,
    PERFORMANCE,
    READINGS,
    TOKEN,
    is_problem,
    visit,
)

PROTECTED = [*(("GET", PERFORMANCE + name) for name in READINGS), ("POST", INVALIDATE)]


# --------------------------------------------------------------------------- the two routes


def test_from_event_to_attribution() -> None:
    """An event is accepted without a token, and its conversion then attributed."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/track", json=EVENT),
            await client.get("/api/attribution/c1?model=linear"),
            await client.get("/api/attribution/c1?model=linear"),
            await client.get("/api/attribution/c1"),
            await client.get("/healthz"),
        ]

    tracked, first, second, default, healthy = visit(work)
    assert (tracked.status_code, tracked.json()["duplicate"]) == (202, False)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert default.json()["model"] == "last_click"
    assert healthy.status_code == 200


def test_answers_carry_their_evidence() -> None:
    """A look-up that missed, then one that L1 answered; statements and CPU time of each."""

    async def work(client: httpx.AsyncClient) -> list[Evidence]:
        answers = [await client.post("/track", json=EVENT)]
        answers += [await client.get("/api/attribution/c2?model=linear") for _ in range(2)]
        return [decode(answer.headers) for answer in answers]

    tracked, missed, hit = visit(work)
    assert [call.name for call in tracked.d1] == ["insert_event"]
    assert [call.name for call in missed.d1] == ["get_conversion_journey"]
    assert [lookup.layer for lookup in missed.lookups + hit.lookups] == [Layer.MISS, Layer.L1]
    assert (tracked.lookups, hit.d1) == ([], [])
    assert all(evidence.cpu_us is not None for evidence in (tracked, missed, hit))


@pytest.mark.parametrize("name", ["a/b", "a b", "a%2Fb", "?x=1", "#", "\u00e9\U0001f600", "a\x00"])
def test_a10_any_id_can_be_asked_for(name: str) -> None:
    """What can be tracked can be read, percent-encoded, whatever signs its ID has."""

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        await client.post("/track", json={**EVENT, "conversion_id": name})
        return await client.get(f"/api/attribution/{quote(name, safe='')}?model=linear")

    answer = visit(work)
    assert (answer.status_code, answer.json()["conversion_id"]) == (200, name)


@pytest.mark.parametrize("model", ["", "__proto__", "valueOf", "Linear"])
def test_a08_a09_an_unknown_model_is_400(model: str) -> None:
    """And answered without evidence, since nothing was asked."""
    answer = visit(lambda client: client.get("/api/attribution/c1", params={"model": model}))
    assert is_problem(answer, 400)
    assert "cache-status" not in answer.headers


def test_a02_an_unknown_conversion_is_404_with_its_evidence() -> None:
    """A 404 of ours was looked up; the next is a negative hit."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get("/api/attribution/nobody?model=linear") for _ in range(2)]

    answers = visit(work)
    assert all(is_problem(answer, 404) for answer in answers)
    negatives = [decode(answer.headers).lookups[0] for answer in answers]
    assert [(each.layer, each.negative) for each in negatives] == [
        (Layer.MISS, True), (Layer.L1, True),
    ]  # fmt: skip


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/track/", "/api/attribution", PERFORMANCE, PERFORMANCE + "stats/",
     INVALIDATE + "/", "/../track/x"],
)  # fmt: skip
def test_e12_unknown_paths_are_404(path: str) -> None:
    """A slash too many is another path: no redirect, the same answer with and without token."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get(path), await client.post(path, headers=AUTH)]

    assert all(is_problem(answer, 404) for answer in visit(work))


def test_d09_an_empty_id_is_400() -> None:
    """It is no conversion's, and is not looked up."""
    answer = visit(lambda client: client.get("/api/attribution/?model=linear"))
    assert is_problem(answer, 400)
    assert "server-timing" in answer.headers
    assert "d1" not in answer.headers["server-timing"]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [("/track", "GET"), ("/api/attribution/c1", "POST")]
    + [(path, "DELETE" if method == "POST" else "POST") for method, path in PROTECTED],
)
def test_e12_g07_a_wrong_method_is_405(path: str, wrong: str) -> None:
    """With the methods that are allowed."""
    answer = visit(lambda client: client.request(wrong, path, headers=AUTH))
    assert is_problem(answer, 405)
    assert wrong not in answer.headers["allow"]


HEADERS: list[dict[str, Any]] = [
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Bearer "},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Bearer {TOKEN} "},
    {"authorization": f"Bearer  {TOKEN}"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": TOKEN},
    {"authorization": b"Bearer \xff\xfe"},
    {"authorization": "Bearer None"},
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_c32_e12_without_the_token_nothing(method: str, path: str) -> None:
    """Missing, empty, wrong, of another scheme: 401 and how to do it. The right one is let in."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        body = {"keys": ["k"]} if method == "POST" else None
        return [
            await client.request(method, path, headers=headers, json=body)
            for headers in [*HEADERS, AUTH, {"Authorization": f"bEARER {TOKEN}"}]
        ]

    *refused, accepted, other_case = visit(work)
    assert all(is_problem(answer, 401) for answer in refused)
    assert {answer.headers["www-authenticate"] for answer in refused} == {"Bearer"}
    assert accepted.status_code == other_case.status_code == 200


@pytest.mark.parametrize("token", [None, ""])
def test_c32_a_server_without_a_token_lets_nobody_in(token: str | None) -> None:
    """Also not those who send an empty one; tracking and look-ups work all the same."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers = [
            await client.get(PERFORMANCE + "stats", headers=headers) for headers in [*HEADERS, AUTH]
        ]
        return [*answers, await client.post("/track", json=EVENT)]

    *refused, tracked = visit(work, token)
    assert all(is_problem(answer, 401) for answer in refused)
    assert tracked.status_code == 202


def test_a_token_may_be_any_text() -> None:
    """Compared as bytes, so one with letters beyond ASCII works as well."""
    given = {b"authorization": "Bearer g\u00e9heim".encode()}
    answer = visit(lambda client: client.get(PERFORMANCE + "stats", headers=given), "g\u00e9heim")
    assert answer.status_code == 200


def test_extra_routes_need_the_token() -> None:
    """What a composition adds is protected like the rest."""

    async def hello(_request: Request) -> Answer:
        return Answer(200, b"hello", [])

    async def work(client: httpx.AsyncClient) -> list[int]:
        answers = [await client.post("/x"), await client.post("/x", headers=AUTH)]
        return [answer.status_code for answer in [*answers, await client.get("/x", headers=AUTH)]]

    assert visit(work, TOKEN, {"/x": {"POST": hello}}) == [401, 200, 405]


BAD_BODIES = [
    b"",
    b"{",
    b"NaN",
    b'{"position": NaN}',
    b"[Infinity, -Infinity]",
    b'{"user_id": "\\ud800"}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"1" * 5_000,
    b'"\xff"',
    b"{} {}",
    b"{'user_id': 1}",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:20]))
def test_c20_a_body_that_is_no_json_is_400(body: bytes) -> None:
    """NaN, deep nesting, endless numbers and broken UTF-8 included, on both routes with a body."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/track", content=body),
            await client.post(INVALIDATE, content=body, headers=AUTH),
        ]

    for answer in visit(work):
        assert is_problem(answer, 400)
        assert "not JSON" in answer.json()["detail"]


def test_a_body_over_64_kib_is_413() -> None:
    """Announced or streamed; one of exactly 64 KiB is read."""

    async def streamed() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        bodies = (b" " * (MAX_BODY_BYTES + 1), streamed(), b" " * MAX_BODY_BYTES)
        return [await client.post("/track", content=body) for body in bodies]

    announced, in_parts, just_fits = visit(work)
    assert is_problem(announced, 413)
    assert is_problem(in_parts, 413)
    assert is_problem(just_fits, 400)


@pytest.mark.parametrize("body", [b"[{}]", b"null", b'{"user_id":1}', b'{"position":1e999}'])
def test_d09_an_odd_event_is_400(body: bytes) -> None:
    """JSON but no event: the fields are named."""
    answer = visit(lambda client: client.post("/track", content=body))
    assert is_problem(answer, 400)
    assert ": " in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b"{}", b'{"keys":"k"}', b'{"keys":[]}', b'{"keys":[1]}', b'{"prefix":""}',
     b'{"keys":["\\ud800"]}', b'{"prefix":"\\udfff"}', b'{"prefix":"a","keys":["k"]}',
     b'{"keys":["' + b"x" * 513 + b'"]}'],
)  # fmt: skip
def test_c20_odd_invalidations_are_400(body: bytes) -> None:
    """Neither 500 nor a success that did nothing."""
    assert is_problem(
        visit(lambda client: client.post(INVALIDATE, content=body, headers=AUTH)), 400
    )
