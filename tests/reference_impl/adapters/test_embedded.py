"""The deployment in one process: its queue is worked off, its profiler is told of everything."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import patch

import pytest

from reference_impl.adapters.embedded import EmbeddedDeployment
from reference_impl.adapters.server import listen
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.messages import Evidence
from reference_impl.ports import QueueError
from tests.reference_impl.deployed import BATCH_TIMEOUT_US, attribution, deployed, track


def test_e01_the_queue_is_worked_off_behind_the_answer() -> None:
    """After the batch time-out the attribution is stored, and handling and delay are recorded."""

    async def work(deployment: EmbeddedDeployment, engine: SqliteEngine) -> dict[str, Any]:
        for i in range(3):
            assert (await track(deployment, event_id=str(i), conversion_id="c1")).status == 202
        await asyncio.sleep(1)
        assert deployment.statistics()["queue"] == {"undelivered": 3, "dead": 0}
        await asyncio.sleep(2)
        assert deployment.statistics()["queue"] == {"undelivered": 0, "dead": 0}
        count = Command("SELECT count(*) FROM multi_touch_attribution", ())
        assert engine.execute([count])[0].rows == [(3 * 3,)]
        return deployment.profiler.latency_summary()

    summary = deployed(work)
    assert summary["queue.handling"]["count"] == 1
    assert summary["queue.accepted_to_stored"]["count"] == 3
    assert summary["queue.accepted_to_stored"]["p95"] >= BATCH_TIMEOUT_US / 1000
    assert summary["d1.consumer"]["count"] == 2


def test_c31_a_touch_refreshes_what_was_answered_before() -> None:
    """Once its message is handled, the look-up that was cached shows the new touch."""

    async def work(deployment: EmbeddedDeployment, _engine: SqliteEngine) -> list[int]:
        lengths = []
        for i in range(3):
            await track(deployment, event_id=str(i), conversion_id="c1")
            await asyncio.sleep(3)
            response, _ = await attribution(deployment, "c1")
            lengths.append(len(json.loads(response.body)["attribution"]))
        return lengths

    assert deployed(work) == [1, 2, 3]


def test_a_lost_message_is_sent_again_by_the_sweep() -> None:
    """The queue refused it behind the answer: after minutes the touch is attributed all the same,
    and the statistics tell of both."""

    async def work(deployment: EmbeddedDeployment, engine: SqliteEngine) -> dict[str, int]:
        queue, runtime = deployment.stores.queue, deployment._runtime
        runtime.wall_us = lambda: runtime.now_us()  # the time of day, too, goes by at once
        with patch.object(queue, "send_batch", side_effect=QueueError("Storage Limit Exceeded")):
            assert (await track(deployment, event_id="1", conversion_id="c1")).status == 202
            await asyncio.sleep(1)
        await asyncio.sleep(600)
        count = Command("SELECT count(*) FROM multi_touch_attribution", ())
        assert engine.execute([count])[0].rows == [(3,)]
        told: dict[str, int] = deployment.statistics()["ingest"]
        return told

    assert deployed(work) == {"sends_failed": 1, "resent": 1}


def test_g06_each_request_has_its_own_evidence() -> None:
    """Requests at the same time do not write into each other's evidence."""

    async def work(deployment: EmbeddedDeployment, _engine: SqliteEngine) -> list[Evidence]:
        answers = await asyncio.gather(*(attribution(deployment, f"c{i}") for i in range(20)))
        return [evidence for _, evidence in answers]

    for evidence in deployed(work):
        assert (len(evidence.lookups), len(evidence.d1)) == (1, 1)
        assert evidence.cpu_us is not None


def test_memory_of_an_isolate_is_not_of_this_process() -> None:
    """It is accounted with what L1 holds; the process is told beside it."""

    async def work(deployment: EmbeddedDeployment, _engine: SqliteEngine) -> dict[str, Any]:
        for _ in range(2):
            await attribution(deployment, "none")
        return dict(deployment.statistics())

    statistics = deployed(work)
    assert 0 < statistics["memory_max_bytes"] < 2**20
    assert statistics["process_rss_bytes"] > 2**20


def test_a_port_is_taken_once() -> None:
    """Port 0 takes a free one; the same one again is an error that says so."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert port > 0
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            listen("127.0.0.1", port)
