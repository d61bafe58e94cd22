"""The HTTP layer over a whole embedded deployment: routes, refusals, evidence, statistics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reference_impl.adapters.embedded import EmbeddedDeployment
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.config import StackConfig
from reference_impl.evidence_headers import decode
from reference_impl.http import MAX_BODY_BYTES, Call, Origin, create_app
from reference_impl.messages import Evidence, Layer, Response
from reference_impl.profiler import LatencyProfiler

T = TypeVar("T")
Visit = Callable[[httpx.AsyncClient], Awaitable[T]]
TOKEN = "s3cret"
AUTH = {"authorization": f"Bearer {TOKEN}"}
PERFORMANCE = "/api/performance/"
READINGS = ["stats", "cache-stats", "query-stats", "latency-summary"]
PROTECTED = [("GET", PERFORMANCE + name) for name in READINGS] + [
    ("POST", PERFORMANCE + "cache-invalidate")
]
EVENT: dict[str, Any] = {
    "user_id": "u1",
    "event_name": "touch",
    "utm_source": "google",
    "event_timestamp": "2026-01-31T12:00:00.000Z",
    "conversion_id": "c1",
}


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    """An empty database with the schema."""
    engine = SqliteEngine()
    engine.migrate()
    return engine.snapshot()


@pytest.fixture
def visit(snapshot: bytes) -> Callable[..., Any]:
    """Runs a coroutine with a client of a server of its own."""

    def run(work: Visit[T], token: str | None = TOKEN, extra: list[Route] | None = None) -> T:
        async def main() -> T:
            engine = SqliteEngine.from_snapshot(snapshot)
            deployment = EmbeddedDeployment(
                engine, StackConfig(), batch_size=1, batch_timeout_us=5_000_000
            )
            transport = httpx.ASGITransport(create_app(deployment, token, extra))
            async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
                return await work(client)

        return asyncio.run(main())

    return run


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether an answer is an error as RFC 9457 has it."""
    return (
        answer.status_code == answer.json()["status"] == status
        and bool(answer.json()["detail"])
        and answer.headers["content-type"] == "application/problem+json"
        and answer.headers["cache-control"] == "no-store"
    )


# --------------------------------------------------------------------------- the two routes


def test_from_event_to_attribution(visit: Callable[..., Any]) -> None:
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


def test_answers_carry_their_evidence(visit: Callable[..., Any]) -> None:
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
def test_a10_any_id_can_be_asked_for(visit: Callable[..., Any], name: str) -> None:
    """What can be tracked can be read, percent-encoded, whatever signs its ID has."""

    async def work(client: httpx.AsyncClient) -> httpx.Response:
        await client.post("/track", json={**EVENT, "conversion_id": name})
        return await client.get(f"/api/attribution/{quote(name, safe='')}?model=linear")

    answer = visit(work)
    assert (answer.status_code, answer.json()["conversion_id"]) == (200, name)


@pytest.mark.parametrize("model", ["", "__proto__", "valueOf", "Linear"])
def test_a08_a09_an_unknown_model_is_400(visit: Callable[..., Any], model: str) -> None:
    """And answered without evidence, since nothing was asked."""
    answer = visit(lambda client: client.get("/api/attribution/c1", params={"model": model}))
    assert is_problem(answer, 400)
    assert "cache-status" not in answer.headers


def test_a02_an_unknown_conversion_is_404_with_its_evidence(visit: Callable[..., Any]) -> None:
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
     PERFORMANCE + "cache-invalidate/", "/../track/x"],
)  # fmt: skip
def test_e12_unknown_paths_are_404(visit: Callable[..., Any], path: str) -> None:
    """A slash too many is another path: no redirect, the same answer with and without token."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get(path), await client.post(path, headers=AUTH)]

    assert all(is_problem(answer, 404) for answer in visit(work))


def test_d09_an_empty_id_is_400(visit: Callable[..., Any]) -> None:
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
def test_e12_g07_a_wrong_method_is_405(visit: Callable[..., Any], path: str, wrong: str) -> None:
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
def test_c32_e12_without_the_token_nothing(
    visit: Callable[..., Any], method: str, path: str
) -> None:
    """Missing, empty, wrong, of another scheme: 401 and how to do it. The right one is let in."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        body = {"keys": ["k"]} if method == "POST" else None
        return [
            await client.request(method, path, headers=headers, json=body)
            for headers in [*HEADERS, AUTH, {"Authorization": f"bEARER {TOKEN}"}]
        ]

    *refused, accepted, other_case = visit(work)
    padded = refused.pop(5)  # a client's trailing blank is not part of a header's value
    assert padded.status_code in (200, 401)
    assert all(is_problem(answer, 401) for answer in refused)
    assert {answer.headers["www-authenticate"] for answer in refused} == {"Bearer"}
    assert accepted.status_code == other_case.status_code == 200


@pytest.mark.parametrize("token", [None, ""])
def test_c32_a_server_without_a_token_lets_nobody_in(
    visit: Callable[..., Any], token: str | None
) -> None:
    """Also not those who send an empty one; tracking and look-ups work all the same."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers = [
            await client.get(PERFORMANCE + "stats", headers=headers) for headers in [*HEADERS, AUTH]
        ]
        return [*answers, await client.post("/track", json=EVENT)]

    *refused, tracked = visit(work, token)
    assert all(is_problem(answer, 401) for answer in refused)
    assert tracked.status_code == 202


def test_a_token_may_be_any_text(visit: Callable[..., Any]) -> None:
    """Compared as bytes, so one with letters beyond ASCII works as well."""
    given = {"authorization": "Bearer g\u00e9heim".encode()}
    answer = visit(lambda client: client.get(PERFORMANCE + "stats", headers=given), "g\u00e9heim")
    assert answer.status_code == 200


def test_extra_routes_need_the_token(visit: Callable[..., Any]) -> None:
    """What a composition adds is protected like the rest."""

    async def hello(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def work(client: httpx.AsyncClient) -> list[int]:
        answers = [await client.post("/x"), await client.post("/x", headers=AUTH)]
        return [answer.status_code for answer in [*answers, await client.get("/x", headers=AUTH)]]

    assert visit(work, TOKEN, [Route("/x", hello, methods=["POST"])]) == [401, 200, 405]


BAD_BODIES = [
    b"",
    b"{",
    b"NaN",
    b'{"position": NaN}',
    b"[Infinity, -Infinity]",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"1" * 5_000,
    b'"\xff"',
    b"{} {}",
    b"{'user_id': 1}",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:20]))
def test_c20_a_body_that_is_no_json_is_400(visit: Callable[..., Any], body: bytes) -> None:
    """NaN, deep nesting, endless numbers and broken UTF-8 included, on both routes with a body."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/track", content=body),
            await client.post(PERFORMANCE + "cache-invalidate", content=body, headers=AUTH),
        ]

    for answer in visit(work):
        assert is_problem(answer, 400)
        assert "not JSON" in answer.json()["detail"]


def test_a_body_over_64_kib_is_413(visit: Callable[..., Any]) -> None:
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


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'{"user_id":1}', b'{"user_id":"\\ud800"}', b'{"position":1e999}']
)
def test_d09_an_odd_event_is_400(visit: Callable[..., Any], body: bytes) -> None:
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
def test_c20_odd_invalidations_are_400(visit: Callable[..., Any], body: bytes) -> None:
    """Neither 500 nor a success that did nothing."""
    path = PERFORMANCE + "cache-invalidate"
    assert is_problem(visit(lambda client: client.post(path, content=body, headers=AUTH)), 400)


# --------------------------------------------------------------------------- statistics


def test_c02_invalidated_answers_are_looked_up_again(visit: Callable[..., Any]) -> None:
    """By key and by prefix; the answer says what was done and how long others may take."""

    async def work(client: httpx.AsyncClient) -> tuple[list[Layer], list[Any]]:
        layers, told = [], []
        for body in ({"keys": ["attribution:c1:linear"]}, {"prefix": "attribution:"}, None):
            answer = await client.get("/api/attribution/c1?model=linear")
            layers.append(decode(answer.headers).lookups[0].layer)
            if body:
                path = PERFORMANCE + "cache-invalidate"
                done = await client.post(path, json=body, headers=AUTH)
                told.append((done.status_code, done.json()["success"], done.json()["data"]))
        return layers, told

    layers, told = visit(work)
    assert layers == [Layer.MISS] * 3
    done = {"keys": 1, "l1_deleted": 1, "kv_deleted": 1, "kv_failed": 0, "elsewhere_within_s": 70}
    assert told[0] == (200, True, done)
    assert told[1][:2] == (200, True)


def test_e01_e22_the_five_endpoints_tell_of_the_same_traffic(visit: Callable[..., Any]) -> None:
    """After traffic no count is 0, and where two endpoints tell of one thing they agree."""

    async def work(client: httpx.AsyncClient) -> dict[str, Any]:
        await client.post("/track", json=EVENT)
        for _ in range(4):
            await client.get("/api/attribution/c1?model=linear")
        for _ in range(100):  # until the queue's consumer is done
            await asyncio.sleep(0)
        readings = {}
        for name in READINGS:
            answer = await client.get(PERFORMANCE + name, headers=AUTH)
            assert (answer.status_code, answer.json()["success"]) == (200, True)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json()["data"].pop("timestamp").endswith("Z")
            readings[name] = answer.json()["data"]
        return readings

    readings = visit(work)
    assert readings["cache-stats"]["cache"]["all"]["lookups"] == 4
    assert readings["cache-stats"]["cache"]["all"]["hit_ratio"] >= 0.75
    latency = readings["latency-summary"]["latency"]
    assert latency == readings["stats"]["performance"]
    assert {name: row["count"] for name, row in latency.items() if name.startswith("request")} == {
        "request.attribution": 4,
        "request.tracking": 1,
    }
    assert readings["query-stats"]["queries"]["d1.request"] == latency["d1.request"]
    assert latency["queue.handling"]["count"] == latency["queue.accepted_to_stored"]["count"] == 1
    assert readings["stats"]["queue"] == {"undelivered": 0, "dead": 0}
    assert readings["stats"]["process_rss_bytes"] > 0
    assert readings["stats"]["cumulative"].keys() == latency.keys()


# --------------------------------------------------------------------------- origin


class Noting:
    """A deployment that only notes where a request says it comes from."""

    def __init__(self) -> None:
        self.profiler = LatencyProfiler()
        self.origins: list[Origin] = []

    async def invoke(self, _call: Call, origin: Origin) -> tuple[Response, Evidence]:
        self.origins.append(origin)
        return Response(200, "{}"), Evidence()

    def statistics(self) -> Mapping[str, Any]:
        return {}

    def wall_us(self) -> int:
        return 0


def test_the_two_headers_of_an_emulation_are_read_tolerantly() -> None:
    """A number of up to 15 digits and a node's name; anything odd is as if it were not there."""
    deployment = Noting()
    numbers = ["7", "0", "", "x", "-1", "1.5", "9" * 15, "9" * 16, b"\xb2"]

    async def main() -> None:
        transport = httpx.ASGITransport(create_app(deployment, None))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            for number in numbers:
                headers = {"x-edgekpi-number": number, "x-edgekpi-node": "fra"}
                await client.get("/api/attribution/c1", headers=headers)  # type: ignore[arg-type]  # bytes, too
            await client.get("/api/attribution/c1")

    asyncio.run(main())
    expected = [7, 0, None, None, None, None, 10**15 - 1, None, None]
    assert deployment.origins == [*(Origin(number, "fra") for number in expected), Origin()]
