"""The lines of the errata that can be seen over HTTP, each asked of a whole embedded deployment."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from reference_impl.http.evidence_headers import decode
from reference_impl.isolate.worker import MAX_BATCH_CONVERSIONS
from reference_impl.messages import D1Call, Evidence, Layer
from reference_impl.profiling.profiler import MAX_SERIES, SLOW_KEPT
from tests.reference_impl.site import (
    AUTH,
    EVENT,
    INVALIDATE,
    PERFORMANCE,
    READINGS,
    Site,
    is_problem,
    visit,
    visit_site,
)


async def reading(client: httpx.AsyncClient, name: str) -> Any:
    """What one of the four statistics tells."""
    answer = await client.get(PERFORMANCE + name, headers=AUTH)
    assert answer.status_code == 200
    return answer.json()["data"]


async def layer(client: httpx.AsyncClient, conversion_id: str = "c1") -> Layer:
    """Which layer answered a look-up."""
    answer = await client.get(f"/api/attribution/{conversion_id}?model=linear")
    return decode(answer.headers).lookups[0].layer


# --------------------------------------------------------------------------- invalidation


def test_c02_an_invalidated_prefix_is_gone_from_l1_too() -> None:
    """Rows that came behind the stack's back are in the next answer of the same isolate."""

    async def work(site: Site) -> list[int]:
        await site.client.post("/track", json=EVENT)
        rows = []
        for at in range(2):
            answer = await site.client.get("/api/attribution/c1?model=linear")
            rows.append(len(answer.json()["attribution"]))
            if at == 0:
                site.rows(
                    "INSERT INTO user_journeys (user_id, event_name, event_timestamp, "
                    "conversion_id, created_at) VALUES ('u', 'e', '2026', 'c1', '2026')"
                )
                body = {"prefix": "attribution:c1:"}
                await site.client.post(INVALIDATE, json=body, headers=AUTH)
        return rows

    assert visit_site(work) == [1, 2]


def test_c03_an_invalidation_says_when_it_holds_elsewhere() -> None:
    """Other isolates cannot be reached; their bound is told, and it is finite."""

    async def work(client: httpx.AsyncClient) -> Any:
        done = await client.post(INVALIDATE, json={"keys": ["attribution:c1:linear"]}, headers=AUTH)
        return done.json()["data"]["elsewhere_within_s"]

    assert 0 < visit(work) <= 120


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"keys":"k"}', b'{"keys":[]}', b'{"keys":[null]}',
     b'{"prefix":""}', b'{"prefix":null}', b'{"prefix":["a"]}', b"prefix=a"],
)  # fmt: skip
def test_c20_odd_bodies_are_refused(body: bytes) -> None:
    """400 as problem details; the cache is as it was."""

    async def work(client: httpx.AsyncClient) -> tuple[httpx.Response, Layer]:
        await layer(client)
        return await client.post(INVALIDATE, content=body, headers=AUTH), await layer(client)

    answer, after = visit(work)
    assert is_problem(answer, 400)
    assert after is Layer.L1


def test_c21_statistics_say_whose_they_are() -> None:
    """Two processes that share nothing have different identifiers; one keeps its own."""

    async def work(client: httpx.AsyncClient) -> list[Any]:
        return [(await reading(client, name))["instance"] for name in READINGS]

    here, there = visit(work), visit(work)
    assert here == [here[0]] * len(READINGS)
    assert here[0]["id"] != there[0]["id"]
    assert here[0]["isolates"] == 1


def test_c32_invalidation_needs_the_token() -> None:
    """401 for all others, and nothing is deleted."""

    async def work(client: httpx.AsyncClient) -> tuple[list[httpx.Response], Layer]:
        await layer(client)
        wrong = {"authorization": "Bearer no"}
        answers = [
            await client.post(INVALIDATE, json={"prefix": "attribution:"}, headers=headers)
            for headers in ({}, wrong)
        ]
        return answers, await layer(client)

    answers, after = visit(work)
    assert all(is_problem(answer, 401) for answer in answers)
    assert after is Layer.L1


# --------------------------------------------------------------------------- statistics


def test_e01_e21_latency_is_told_by_endpoint() -> None:
    """Every endpoint that was asked has percentiles of its own, in total and in the window."""

    async def work(client: httpx.AsyncClient) -> Any:
        for number in range(3):
            await client.post("/track", json={**EVENT, "event_id": str(number)})
        await layer(client)
        await client.get("/api/channels?model=linear")
        body = {"conversion_ids": ["c1"], "model": "linear"}
        await client.post("/api/attribution/batch", json=body, headers=AUTH)
        return (await reading(client, "latency-summary"))["latency"]["requests"]

    requests = visit(work)
    counts = {name: (row["count"], row["window"]["count"]) for name, row in requests.items()}
    once = ("attribution", "channels", "attribution-batch")
    assert counts == {"tracking": (3, 3), **dict.fromkeys(once, (1, 1))}
    assert all(row["p95"] > 0 and row["window"]["p95"] > 0 for row in requests.values())


def test_e05_e06_e09_e13_e17_statistics_stay_small() -> None:
    """After 100,000 slow requests of 1,000 endpoints: answered, and of bounded length."""

    async def work(site: Site) -> list[httpx.Response]:
        profiler = site.deployment.profiler
        evidence = Evidence(d1=[D1Call("journey", 150_000)])
        for number in range(100_000):
            profiler.request(f"r{number % 1000}", 200, 250_000, evidence)
        return [await site.client.get(PERFORMANCE + name, headers=AUTH) for name in READINGS]

    answers = visit_site(work, quiet=True)
    assert [answer.status_code for answer in answers] == [200] * len(READINGS)
    assert all(len(answer.content) < 1_000_000 for answer in answers)
    by_name = dict(zip(READINGS, (answer.json()["data"] for answer in answers), strict=True))
    assert len(by_name["query-stats"]["queries"]["slow_queries"]) == SLOW_KEPT
    requests = by_name["latency-summary"]["latency"]["requests"]
    assert len(requests) <= MAX_SERIES
    assert sum(row["count"] for row in requests.values()) <= 100_000


def test_e07_e08_a_request_is_recorded_once_by_its_end() -> None:
    """There is no identifier to repeat, to forget or to search for: the same headers twice are two
    requests, and what never ended left nothing."""

    async def work(client: httpx.AsyncClient) -> Any:
        headers = {"x-request-id": "same", "x-edgekpi-number": "7"}
        for _ in range(2):
            await client.get("/api/attribution/c1?model=linear", headers=headers)
        stopped = asyncio.create_task(client.get("/api/attribution/c2?model=linear"))
        await asyncio.sleep(0)
        stopped.cancel()
        return (await reading(client, "stats"))["performance"]["requests"]

    assert visit(work)["attribution"]["count"] == 2


@pytest.mark.parametrize("name", READINGS)
def test_e12_a_reading_has_one_method_one_path_and_no_store(name: str) -> None:
    """405, 401 and 404 as problem details; never to be cached."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        path = PERFORMANCE + name
        return [
            await client.post(path, headers=AUTH),
            await client.get(path),
            await client.get(path + "/", headers=AUTH),
            await client.get(path, headers=AUTH),
        ]

    wrong, anonymous, slash, right = visit(work)
    assert is_problem(wrong, 405)
    assert is_problem(anonymous, 401)
    assert is_problem(slash, 404)
    assert (right.status_code, right.headers["cache-control"]) == (200, "no-store")


def test_e02_e22_the_hit_ratio_is_of_look_ups_everywhere() -> None:
    """99 of 200: the same number from each endpoint that tells it."""

    async def work(client: httpx.AsyncClient) -> tuple[float, float, float]:
        for number in range(101):
            await layer(client, f"c{number}")
        for _ in range(99):
            await layer(client, "c0")
        stats = await reading(client, "stats")
        latency = await reading(client, "latency-summary")
        own = await reading(client, "cache-stats")
        caches = (stats["performance"]["cache"], latency["latency"]["cache"], own["cache"])
        return tuple(cache["all"]["hit_ratio"] for cache in caches)

    assert visit(work) == (0.495, 0.495, 0.495)


# --------------------------------------------------------------------------- limits and kept


def test_f02_a_batch_keeps_within_the_operations_of_an_invocation() -> None:
    """The largest batch there may be asks KV and D1 for 1,000 operations at most; one more ID is
    refused."""

    async def work(site: Site) -> tuple[httpx.Response, httpx.Response]:
        ids = [f"c{number}" for number in range(MAX_BATCH_CONVERSIONS + 1)]
        bodies = [{"conversion_ids": some, "model": "data_driven"} for some in (ids[:-1], ids)]
        largest, over = [
            await site.client.post("/api/attribution/batch", json=body, headers=AUTH)
            for body in bodies
        ]
        for _ in range(20_000):  # until the fills behind the answer are done
            await asyncio.sleep(0)
        return largest, over

    operations = Operations()
    largest, over = visit_site(work, operations.count)
    assert largest.status_code == 200
    assert len(largest.json()["results"]) == MAX_BATCH_CONVERSIONS
    assert 2 * MAX_BATCH_CONVERSIONS <= operations.kv <= 1000
    assert len(decode(largest.headers).d1) <= 1000
    assert is_problem(over, 400)


class Operations:
    """Counts what is asked of a KV namespace."""

    def __init__(self) -> None:
        self.kv = 0

    def count(self, kv: Any) -> Any:
        for name in ("get", "get_with_metadata", "put", "delete", "list"):
            setattr(kv, name, self._counting(getattr(kv, name)))
        return kv

    def _counting(self, operation: Any) -> Any:
        async def counted(*arguments: Any, **options: Any) -> Any:
            self.kv += 1
            return await operation(*arguments, **options)

        return counted


def test_g06_the_isolate_outlives_its_requests() -> None:
    """What one request left in the isolate serves others, also at the same time: no error."""

    async def work(client: httpx.AsyncClient) -> list[int]:
        asked = [client.get(f"/api/attribution/c{n % 5}?model=linear") for n in range(50)]
        tracked = [client.post("/track", json={**EVENT, "event_id": str(n)}) for n in range(50)]
        answers = await asyncio.gather(*asked, *tracked)
        return [answer.status_code for answer in answers]

    assert set(visit(work)) <= {200, 202, 404}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "TRACE", "BREW"])
def test_g07_invalidation_takes_post_only(method: str) -> None:
    """405 with what is allowed."""
    answer = visit(lambda client: client.request(method, INVALIDATE, headers=AUTH))
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
