"""The modelled world behind HTTP, on asyncio in virtual time: nothing sleeps, times are exact."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from reference_impl.http.app import NODE_HEADER, NUMBER_HEADER
from reference_impl.http.evidence_headers import decode
from reference_impl.messages import Layer
from reference_impl.profiling.hdr import Histogram
from scenarios.parts import LatencyMs
from sim.draws import Delays, Draws
from sim.emulate import MAX_SEED, MAX_ZERO_IN_US
from tests.sim.emulated import NODES, START, TOKEN, Session, play
from tests.sim.small import MS


def layers(answer: httpx.Response) -> list[Layer]:
    return [lookup.layer for lookup in decode(answer.headers).lookups]


def test_a_request_takes_network_cpu_and_services() -> None:
    """10 ms of network, 1 ms CPU; a miss adds central KV and D1, and says so in its headers."""

    async def work(session: Session) -> None:
        answer, took_us = await session.look_up()
        evidence = decode(answer.headers)
        assert (answer.status_code, layers(answer)) == (200, [Layer.MISS])
        (call,) = evidence.d1
        assert call.round_trip_us == 15 * MS
        assert took_us == pytest.approx((10 + 1 + 20) * MS + call.total_us, abs=5)
        answer, took_us = await session.look_up()
        assert (layers(answer), decode(answer.headers).d1) == ([Layer.L1], [])
        assert took_us == pytest.approx(11 * MS, abs=5)

    play(work)


def test_number_and_node_decide_what_a_request_meets() -> None:
    """The delays of that number, as the simulation draws them, at the node it names."""

    async def work(session: Session) -> None:
        draws = Draws(session.asked, 1)
        for number in (3, 4, 5_000):
            answer, _ = await session.look_up(number, number, "iad")
            (call,) = decode(answer.headers).d1
            assert call.round_trip_us == draws.d1_overhead.us(number) + draws.d1_rtt["iad"].us(
                number
            )
        same_node, _ = await session.look_up(3, 3, "iad")
        other_node, _ = await session.look_up(3, 3, "fra")
        assert (layers(same_node), layers(other_node)) == ([Layer.L1], [Layer.KV])

    play(
        work,
        edge={"nodes": NODES},
        d1={"request_overhead_ms": {"p50": 3, "p99": 20}, "jitter_cv": 0.1},
        data={"max_paths": 5_000},
    )


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "9" * 20, "٣"])
def test_other_numbers_are_none(number: str) -> None:
    """A request that names no usable number, or an unknown node, is served all the same."""

    async def work(session: Session) -> None:
        headers = [(NUMBER_HEADER, number.encode()), (NODE_HEADER, b"nowhere")]
        conversion_id = session.prepared.population.conversions[0].conversion_id
        answer = await session.http.get(f"/api/attribution/{conversion_id}", headers=headers)
        assert answer.status_code == 200

    play(work)


def test_starting_needs_the_token() -> None:
    """Without it nothing is started, and nothing is said of why."""

    async def work(session: Session) -> None:
        await session.look_up()
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
            answer = await session.http.post(START, json={}, headers=headers)
            assert answer.status_code == 401
        assert (await session.http.get(START, headers=TOKEN)).status_code == 405
        answer, _ = await session.look_up()
        assert layers(answer) == [Layer.L1]

    play(work)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"seed": 1}',
        b'{"seed": 1, "zero_in_us": -1}',
        b'{"seed": 1, "zero_in_us": 1.0}',
        b'{"seed": true, "zero_in_us": 1}',
        b'{"seed": "1", "zero_in_us": 1}',
        f'{{"seed": {MAX_SEED + 1}, "zero_in_us": 1}}'.encode(),
        f'{{"seed": 1, "zero_in_us": {MAX_ZERO_IN_US + 1}}}'.encode(),
    ],
)
def test_a_wrong_body_starts_nothing(body: bytes) -> None:
    """400 with a sentence, and the world goes on as it was."""

    async def work(session: Session) -> None:
        await session.look_up()
        answer = await session.http.post(START, content=body, headers=TOKEN)
        assert answer.status_code == 400
        assert answer.json()["detail"]
        assert layers((await session.look_up())[0]) == [Layer.L1]

    play(work)


def test_a_start_is_a_new_world() -> None:
    """Empty caches, fresh tables, statistics from zero, and the draws of the seed."""
    law = {"p50": 15, "p99": 82}

    async def work(session: Session) -> None:
        event = {"event_id": "e1", "user_id": "u", "event_name": "touch", "event_timestamp": 0}
        for _ in range(2):
            await session.look_up()
        first = await session.http.post("/track", json=event)
        again = await session.http.post("/track", json=event)
        assert [answer.json()["duplicate"] for answer in (first, again)] == [False, True]
        for seed in (8, MAX_SEED):
            assert (await session.start(seed)).status_code == 200
            assert (await session.statistics())["cumulative"] == {}
            answer, took_us = await session.look_up(number=77)
            assert layers(answer) == [Layer.MISS]
            (call,) = decode(answer.headers).d1
            network_us = Delays(seed, "client.rtt", LatencyMs(**law)).us(77)
            assert took_us == pytest.approx(network_us + 21 * MS + call.total_us, abs=5)
        assert (await session.http.post("/track", json=event)).json()["duplicate"] is False

    play(work, client={"rtt_ms": law})


def test_a_steady_start_counts_from_its_zero() -> None:
    """What the caches hold lives from the announced zero on, not from the time of asking."""

    async def work(session: Session) -> None:
        await session.start(1, MAX_ZERO_IN_US)
        await asyncio.sleep(MAX_ZERO_IN_US / 1e6)
        found = [layers((await session.look_up(key, key))[0]) for key in range(3)]
        assert [Layer.L1] in found
        assert [Layer.MISS] not in found

    play(
        work,
        measure={"start": "steady"},
        workload={"attribution": {"rate_per_s": 1_000.0, "zipf_s": 0.0}},
    )


def test_statistics_tell_what_no_answer_carries() -> None:
    """Batches of the queue, memory of the fullest isolate, the process, the world's counts."""

    async def work(session: Session) -> None:
        event = {"user_id": "u", "event_name": "touch", "event_timestamp": 0}
        for number in range(10):
            answer = await session.http.post("/track", json={**event, "event_id": f"e{number}"})
            assert answer.status_code == 202
        await session.look_up()
        await asyncio.sleep(1)
        told = await session.statistics()
        handling = Histogram.from_json(told["cumulative"]["queue.handling"])
        stored = Histogram.from_json(told["cumulative"]["queue.accepted_to_stored"])
        assert (handling.count, stored.count) == (1, 10)
        assert told["memory_max_bytes"] > 20 * 2**20
        assert told["process_rss_bytes"] > 2**20
        assert told["counts"]["kv.writes"] == 1

    play(work)


def test_what_an_answer_says_is_what_took_time_here() -> None:
    """CPU is measured on this machine's own steps: neither the modelled 1 ms nor nothing."""

    async def work(session: Session) -> None:
        answer, _ = await session.look_up()
        cpu_us = decode(answer.headers).cpu_us
        assert cpu_us is not None
        assert 0 < cpu_us != 500 * MS

    play(work, edge={"cpu_ms": {"p50": 500, "p99": 500}})
