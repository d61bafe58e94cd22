"""The five performance endpoints, and what the HTTP layer hands to a deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from reference_impl.http.app import AskOrigin, Call, Origin, create_app
from reference_impl.http.evidence_headers import decode
from reference_impl.messages import Evidence, Layer, Response
from reference_impl.ports import DeadLetters
from reference_impl.profiling.profiler import LatencyProfiler
from tests.reference_impl.site import AUTH, EVENT, INVALIDATE, PERFORMANCE, READINGS, visit


def test_c02_invalidated_answers_are_looked_up_again() -> None:
    """By key and by prefix; the answer says what was done and how long others may take."""

    async def work(client: httpx.AsyncClient) -> tuple[list[Layer], list[Any]]:
        layers, told = [], []
        for body in ({"keys": ["attribution:c1:linear"]}, {"prefix": "attribution:"}, None):
            answer = await client.get("/api/attribution/c1?model=linear")
            layers.append(decode(answer.headers).lookups[0].layer)
            if body:
                done = await client.post(INVALIDATE, json=body, headers=AUTH)
                told.append((done.status_code, done.json()["success"], done.json()["data"]))
        return layers, told

    layers, told = visit(work)
    assert layers == [Layer.MISS] * 3
    done = {"keys": 1, "l1_deleted": 1, "kv_deleted": 1, "kv_failed": 0, "elsewhere_within_s": 70}
    assert told[0] == (200, True, done)
    assert told[1][:2] == (200, True)


def test_e01_e22_the_five_endpoints_tell_of_the_same_traffic() -> None:
    """After traffic no count is 0, and where two endpoints tell of one thing they agree."""

    async def work(client: httpx.AsyncClient) -> dict[str, Any]:
        await client.post("/track", json=EVENT)
        for _ in range(1_000):  # until the queue's consumer is done, which takes no time here
            await asyncio.sleep(0)
        for _ in range(4):
            await client.get("/api/attribution/c1?model=linear")
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
    counts = {name: row["count"] for name, row in latency["requests"].items()}
    assert counts == {"attribution": 4, "tracking": 1}
    assert latency["cache"] == readings["cache-stats"]["cache"]
    assert readings["query-stats"]["queries"]["d1.request"] == latency["d1"]["request"]
    assert latency["queries"]["insert_event"]["count"] == 1
    queue = latency["queue"]
    assert queue["handling"]["count"] == queue["accepted_to_stored"]["count"] == 1
    instances = [reading["instance"] for reading in readings.values()]
    assert instances == [instances[0]] * len(READINGS)
    assert readings["stats"]["queue"] == {"undelivered": 0, "dead": 0}
    assert readings["stats"]["process_rss_bytes"] > 0
    flat = {f"{group}.{name}" for group in ("d1", "queue") for name in latency[group]}
    assert flat < readings["stats"]["cumulative"].keys()


# --------------------------------------------------------------------------- origin


class Noting:
    """A deployment that only notes where a request says it comes from."""

    def __init__(self) -> None:
        self.profiler = LatencyProfiler(lambda: 0)
        self.origins: list[Origin] = []

    async def invoke(self, _call: Call, ask_origin: AskOrigin) -> tuple[Response, Evidence]:
        self.origins.append(ask_origin())
        return Response(200, "{}"), Evidence()

    @property
    def dead_letters(self) -> DeadLetters:
        raise NotImplementedError

    def instance(self) -> Mapping[str, Any]:
        return {}

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
