"""POST /track over HTTP: batches, types of bodies, the rate of a client, other origins."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from reference_impl.events import MAX_EVENTS
from reference_impl.http.app import create_app
from reference_impl.http.rate_limit import RateLimit
from tests.reference_impl.site import EVENT, Site, is_problem, visit, visit_site


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {**EVENT, "event_id": f"e{number}", **fields}


def stored(site: Site) -> list[str]:
    return [row[0] for row in site.rows("SELECT event_id FROM user_journeys ORDER BY id")]


# --------------------------------------------------------------------------- batches


def test_a_batch_is_accepted_as_a_whole() -> None:
    """Each event once, in its order, whether it was known before or stands there twice."""

    async def work(site: Site) -> tuple[httpx.Response, list[str]]:
        await site.client.post("/track", json=event(1))
        answer = await site.client.post("/track", json=[event(n) for n in (0, 1, 2, 0)])
        return answer, stored(site)

    answer, ids = visit_site(work)
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": True,
        "events": [
            {"event_id": "e0", "duplicate": False},
            {"event_id": "e1", "duplicate": True},
            {"event_id": "e2", "duplicate": False},
            {"event_id": "e0", "duplicate": True},
        ],
    }
    assert ids == ["e1", "e0", "e2"]


@pytest.mark.parametrize("bad", [{}, event(1, position=-1), None, [], event(1, odd=1)])
def test_one_bad_event_refuses_the_batch(bad: Any) -> None:
    """400 that names its place; none of the others is stored."""

    async def work(site: Site) -> tuple[httpx.Response, list[str]]:
        answer = await site.client.post("/track", json=[event(0), bad, event(2)])
        return answer, stored(site)

    answer, ids = visit_site(work)
    assert is_problem(answer, 400)
    assert answer.json()["detail"].startswith("event 1: ")
    assert ids == []


@pytest.mark.parametrize(("count", "status"), [(0, 400), (MAX_EVENTS, 202), (MAX_EVENTS + 1, 400)])
def test_a_batch_has_one_to_a_hundred_events(count: int, status: int) -> None:
    """As many as one batch of the queue takes."""

    async def work(site: Site) -> tuple[int, int]:
        answer = await site.client.post("/track", json=[event(n) for n in range(count)])
        return answer.status_code, len(stored(site))

    assert visit_site(work) == (status, count if status == 202 else 0)


# --------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("application/json", 202),
        ("Application/JSON; charset=utf-8", 202),
        ("text/plain;charset=UTF-8", 202),
        (None, 202),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_a_body_is_what_it_is_announced_as(sent: str | None, status: int) -> None:
    """JSON, or the plain text that a browser's beacon sends; a form is refused."""
    headers = {} if sent is None else {"content-type": sent}
    body = json.dumps(EVENT).encode()
    answer = visit(lambda client: client.post("/track", content=body, headers=headers))
    assert answer.status_code == status
    assert status == 202 or (is_problem(answer, 415) and answer.headers["accept"])


@pytest.mark.parametrize(
    ("encoding", "status"), [("utf-8", 202), ("utf-8-sig", 202), ("utf-16", 400), ("latin-1", 400)]
)
def test_a_body_is_utf_8(encoding: str, status: int) -> None:
    """As RFC 8259 has JSON between systems; a byte order mark before it is overlooked."""

    async def work(site: Site) -> tuple[int, list[str]]:
        body = json.dumps(event(1, user_id="Jürgen"), ensure_ascii=False).encode(encoding)
        headers = {"content-type": "application/json"}
        answer = await site.client.post("/track", content=body, headers=headers)
        return answer.status_code, stored(site)

    assert visit_site(work) == (status, ["e1"] if status == 202 else [])


def test_a_compressed_body_is_415() -> None:
    """With what is understood instead."""
    headers = {"content-encoding": "gzip"}
    answer = visit(lambda client: client.post("/track", content=b"x", headers=headers))
    assert is_problem(answer, 415)
    assert answer.headers["accept-encoding"] == "identity"


# --------------------------------------------------------------------------- rate


def test_a_client_that_sends_too_much_waits() -> None:
    """429 with Retry-After once its bucket is empty; events of a batch count one by one, refused
    ones are not stored, and others are served."""
    now_us = 0

    async def work(site: Site) -> tuple[list[httpx.Response], int]:
        nonlocal now_us
        app = create_app(site.deployment, None, tracking_limit=RateLimit(lambda: now_us, 5))
        answers = []
        for client in ("10.0.0.1", "10.0.0.2"):
            transport = httpx.ASGITransport(app, client=(client, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
                answers.append(await http.post("/track", json=[event(n) for n in range(10)]))
                answers.append(await http.post("/track", json=event(10)))
                now_us += 200_000
                answers.append(await http.post("/track", json=event(11)))
                answers.append(await http.get("/api/attribution/c1?model=linear"))
        return answers, len(stored(site))

    answers, count = visit_site(work)
    assert [answer.status_code for answer in answers] == [202, 429, 202, 200] * 2
    assert is_problem(answers[1], 429)
    assert answers[1].headers["retry-after"] == "1"
    assert answers[1].headers["access-control-allow-origin"] == "*"
    assert count == 11


# --------------------------------------------------------------------------- other origins


def test_a_browser_may_ask_before_it_posts() -> None:
    """The preflight names method and header, and every answer may be read by any origin."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        origin = {"origin": "https://shop.example"}
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        return [
            await client.options("/track", headers={**origin, **asked}),
            await client.post("/track", json=EVENT, headers=origin),
            await client.post("/track", json={}, headers=origin),
            await client.get("/track", headers=origin),
            await client.get("/api/attribution/c1?model=linear", headers=origin),
        ]

    preflight, *answers = visit(work)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert preflight.headers["access-control-allow-headers"] == "content-type"
    assert [answer.status_code for answer in answers] == [202, 400, 405, 200]
    allowed = [answer.headers.get("access-control-allow-origin") for answer in answers]
    assert allowed == ["*", "*", "*", None]


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/api/attribution/c1", "GET, HEAD, OPTIONS"),
        ("/api/attribution/batch", "GET, HEAD, OPTIONS, POST"),
        ("/api/performance/stats", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_and_head(path: str, allow: str) -> None:
    """OPTIONS says what there is, without a token; HEAD has the headers of GET and no body."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        await client.post("/track", json=EVENT)
        return [await client.options(path), await client.head(path), await client.get(path)]

    options, head, get = visit(work)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allow, b"")
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"]


def test_a_client_that_goes_away_is_no_error() -> None:
    """Its half a body is refused, which nobody reads; nothing is stored or logged."""

    async def work(site: Site) -> tuple[int, list[str]]:
        sent: list[Any] = []
        parts = iter([{"type": "http.request", "body": b'{"', "more_body": True},
                      {"type": "http.disconnect"}])  # fmt: skip

        async def receive() -> Any:
            await asyncio.sleep(0)
            return next(parts)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/track", "headers": [],
                 "query_string": b"", "client": ("10.0.0.1", 1)}  # fmt: skip
        await create_app(site.deployment, None)(scope, receive, send)
        return sent[0]["status"], stored(site)

    assert visit_site(work) == (400, [])
