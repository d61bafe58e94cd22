"""Errata of the profiler (group E): it is fed by the stack, bounded, and misses no failure."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest

from reference_impl.adapters.embedded import EmbeddedDeployment
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.http.app import Origin
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, D1Call, Evidence, KVCall, Layer, Lookup, Response
from reference_impl.ports import KVError
from reference_impl.profiling.profiler import UNANSWERED, LatencyProfiler, discard
from tests.reference_impl.deployed import attribution, deployed, track
from tests.reference_impl.fakes import Edge
from tests.reference_impl.looking import TYPE, Source, look


def profiler(lines: list[Mapping[str, Any]] | None = None) -> LatencyProfiler:
    """One whose clock stands still."""
    return LatencyProfiler(lambda: 0, discard if lines is None else lines.append)


def request(taken_by: LatencyProfiler, number: int) -> None:
    """One request with a look-up, a KV read, a statement and CPU time."""
    evidence = Evidence(
        [Lookup(TYPE, Layer.MISS)], [D1Call("query", number)], number, [KVCall("get", number)]
    )
    taken_by.request("attribution", 200, number, evidence)
    taken_by.external("crm", number)


def calls_of(work: Callable[[], object]) -> int:
    """How many Python functions ``work`` calls: its cost without a clock."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    gc.disable()  # others may have asked to be called at its end
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls


# --------------------------------------------------------------------------- fed by the stack


def test_e01_every_layer_has_counts_without_any_wiring() -> None:
    """One event and two look-ups: endpoints, statements, KV operations, queue and CPU."""

    async def work(deployment: EmbeddedDeployment, _engine: SqliteEngine) -> dict[str, Any]:
        await track(deployment, conversion_id="c1")
        await asyncio.sleep(5)
        await attribution(deployment, "c1")
        await attribution(deployment, "c2")
        await asyncio.sleep(5)
        return deployment.profiler.latency_summary()

    counts = {name: row["count"] for name, row in deployed(work).items()}
    assert counts == {
        "cpu": 3,
        "d1.behind": 1,
        "d1.consumer": 2,
        "d1.request": 2,
        "kv.delete": 7,  # answers by four other models, and the sums of three
        "kv.get": 1,  # the consumer's own isolate has c1 in L1
        "kv.put": 4,  # three models by the consumer, and "not there" behind the answer
        "query.get_conversion_journey": 2,
        "query.insert_event": 1,
        "query.processed_events": 1,
        "query.store_attribution": 1,
        "queue.accepted_to_stored": 1,
        "queue.handling": 1,
        "request.attribution": 2,
        "request.tracking": 1,
    }


def test_e01_kv_operations_leave_their_time(edge: Edge) -> None:
    """A read, a write behind the answer, a deletion and a listing: 5 ms each, by name."""
    cache, source, ctx = CacheManager(edge.runtime, StackConfig()), Source(edge), edge.context()

    async def work() -> None:
        await look(cache, source, ctx=ctx)
        await edge.sleep_s(2)
        await cache.delete(ctx, "k")
        await cache.list_keys(ctx, "k")

    edge.run(work())
    operations = ("get", "put", "delete", "list")
    assert ctx.evidence.kv == [KVCall(name, edge.kv.delay_us) for name in operations]


# --------------------------------------------------------------------------- failures


def test_e20_a_request_that_raises_is_a_record() -> None:
    """It has no answer and no route: it counts under a name of its own, as failed."""

    async def broken(_worker: Worker, _ctx: Context) -> Response:
        await asyncio.sleep(0.25)
        raise ArithmeticError("a fault of the program")

    async def work(deployment: EmbeddedDeployment, _engine: SqliteEngine) -> Any:
        with pytest.raises(ArithmeticError):
            await deployment.invoke(broken, Origin)
        return deployment.profiler.latency_summary()[f"request.{UNANSWERED}"]

    row = deployed(work)
    assert (row["count"], row["failed"]) == (1, 1)
    assert row["max"] == pytest.approx(250, abs=1)


def test_e20_a_kv_operation_that_fails_is_a_record(edge: Edge) -> None:
    """With the time it took, and counted as failed."""
    cache, source, ctx = CacheManager(edge.runtime, StackConfig()), Source(edge), edge.context()
    edge.kv.fail_reads = KVError("KV GET failed: 503", 503)
    edge.run(look(cache, source, ctx=ctx))
    assert ctx.evidence.kv[0] == KVCall("get", edge.kv.delay_us, failed=True)
    taken_by = profiler()
    taken_by.request("attribution", 200, 1, ctx.evidence)
    row = taken_by.latency_summary()["kv.get"]
    assert (row["count"], row["failed"]) == (1, 1)


def test_e07_one_id_twice_is_two_records_and_no_request_is_left_open() -> None:
    """Two requests of the same number at once, the second of which raises: each has its own time,
    and nothing is kept of one that never ends well."""
    gate = asyncio.Event()

    async def slow(_worker: Worker, _ctx: Context) -> Response:
        await gate.wait()
        return Response(200, "{}", "slow")

    async def broken(_worker: Worker, _ctx: Context) -> Response:
        await asyncio.sleep(1)
        gate.set()
        raise ArithmeticError

    async def work(deployment: EmbeddedDeployment, _engine: SqliteEngine) -> dict[str, Any]:
        both = [deployment.invoke(call, Origin) for call in (slow, broken)]
        results = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(results[1], ArithmeticError)
        return deployment.profiler.latency_summary()

    summary = deployed(work)
    ended = {name: row["count"] for name, row in summary.items() if name.startswith("request.")}
    assert ended == {"request.slow": 1, f"request.{UNANSWERED}": 1}


def test_e18_each_call_is_counted_once(edge: Edge) -> None:
    """Nobody holds an end function to call twice or never: what awaits the call notes its end."""
    cache, source, ctx = CacheManager(edge.runtime, StackConfig()), Source(edge), edge.context()

    async def work() -> None:
        await look(cache, source, ctx=ctx)
        await look(cache, source, ctx=ctx)

    edge.run(work())
    taken_by = profiler()
    taken_by.request("attribution", 200, 1, ctx.evidence)
    assert taken_by.latency_summary()["kv.get"]["count"] == 1
    assert taken_by.cache_stats()["all"]["lookups"] == 2


# --------------------------------------------------------------------------- bounded


def test_e05_e08_e17_a_record_and_a_reading_cost_the_same_for_ever() -> None:
    """As many function calls after 5,000 requests as after 10, and no longer a reply."""
    costs = []
    taken_by = profiler()
    for upto in (10, 5_000):
        for number in range(upto):
            request(taken_by, number % 1_000)
        record = calls_of(lambda: request(taken_by, 7))
        reading = calls_of(lambda: (taken_by.latency_summary(), taken_by.query_stats()))
        costs.append((record, reading, sorted(taken_by.latency_summary())))
    assert costs[0] == costs[1]


def test_e06_e09_nothing_but_aggregates_is_kept_or_told() -> None:
    """10,000 calls are numbers, not lists: by interface, with count, failures and percentiles."""
    taken_by = profiler()
    for number in range(10_000):
        request(taken_by, number % 1_000)
    row = taken_by.latency_summary()["external.crm"]
    assert row.keys() == {"count", "p50", "p95", "p99", "max", "failed", "window"}
    assert row["count"] == 10_000
    assert len(json.dumps(taken_by.latency_summary())) < 2_000


# --------------------------------------------------------------------------- thresholds


def test_e11_a_cache_operation_of_15_ms_is_a_warning() -> None:
    """Over 10 ms a warning and over 20 ms critical, as for requests, queries and interfaces."""
    lines: list[Mapping[str, Any]] = []
    taken_by = profiler(lines)
    for us in (10_000, 15_000, 20_001):
        taken_by.request("attribution", 200, 1, Evidence(kv=[KVCall("get", us)]))
    assert lines == [
        {"level": "warning", "what": "kv.get", "ms": 15.0},
        {"level": "critical", "what": "kv.get", "ms": 20.001},
    ]


def test_e11_a_name_beyond_the_bound_is_told_of_by_its_own() -> None:
    """What is counted under "other" has its thresholds all the same."""
    lines: list[Mapping[str, Any]] = []
    taken_by = profiler(lines)
    for number in range(300):
        taken_by.external(f"crm{number}", 1)
    taken_by.external("late", 600_000)
    assert lines == [{"level": "warning", "what": "external.late", "ms": 600.0}]
