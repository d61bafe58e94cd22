"""The whole stack against a dull oracle: several isolates at nodes of their own, one KV, one D1, a
queue that delivers at least once, and failures of D1 and of KV's reads."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.attribution.models import MODELS, Touch
from reference_impl.cache.manager import SETTLE_S
from reference_impl.config import StackConfig
from reference_impl.isolate.worker import Worker
from reference_impl.ports import D1Error, Job, KVError, Message
from reference_impl.times import from_wall_us
from tests.reference_impl.fakes import Edge, NodeKV

CONFIG = StackConfig(l1_ttl_s=5, kv_cache_ttl_s=30, attribution_models=("linear", "u_shape"))
KEPT = ["linear", "u_shape", "last_click", "time_decay", "w_shape"]
"""Models asked for: two that the consumer recomputes and three that it lets go. What data_driven
answers depends on all journeys and is allowed to live on."""

CONVERSIONS = st.sampled_from(["c1", "c2"])


class Step(NamedTuple):
    """After a pause, isolate ``number`` is asked for something, or something breaks."""

    pause_s: float
    number: int
    action: str
    conversion_id: str
    source: str | None
    time: int
    model: str


ACTIONS = ["track"] * 4 + ["look"] * 6 + ["batch", "deliver", "d1 down", "kv reads down", "all up"]
stories = st.lists(
    st.builds(
        Step,
        st.sampled_from([0, 0.01, 0.3, 1.1, 4.9, 31, 61, 400]),
        st.integers(0, 2),
        st.sampled_from(ACTIONS),
        CONVERSIONS,
        st.sampled_from(["a", "b", "", "__proto__", None]),
        st.integers(0, 3),
        st.sampled_from(KEPT),
    ),
    max_size=25,
)


class Site:
    """Three isolates, the first of which is the queue's consumer too."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.workers = [Worker(self.edge.runtime, CONFIG) for _ in range(3)]
        self.nodes = [NodeKV(self.edge) for _ in self.workers]
        self.accepted: dict[str, list[Touch]] = defaultdict(list)
        self.undelivered: list[Message] = []
        self.deliveries: list[Job[None]] = []

    def context(self, number: int) -> Any:
        ctx = self.edge.context()
        ctx.kv = self.nodes[number]
        return ctx

    async def play(self, story: list[Step]) -> None:
        for number, step in enumerate(story):
            await self.edge.sleep_s(step.pause_s)
            await self.do(number, step)
        self.edge.d1.fail = self.edge.kv.fail_reads = None
        for job in self.deliveries:
            await job
        await self.edge.sleep_s(1)  # what was tracked last is queued behind its answer
        while self.edge.queue.sent or self.undelivered:
            await self.deliver()
        await self.edge.sleep_s(self.workers[0].cache.elsewhere_within_s + SETTLE_S)

    async def do(self, number: int, step: Step) -> None:
        worker, ctx = self.workers[step.number], self.context(step.number)
        if step.action == "track":
            await self.track(worker, ctx, number, step)
        elif step.action == "look":
            await worker.attribution(ctx, step.conversion_id, step.model)
        elif step.action == "batch":
            body = {"conversion_ids": ["c1", "c2"], "model": step.model}
            await worker.attribution_batch(ctx, body)
        elif step.action == "deliver":
            self.deliveries.append(self.edge.runtime.spawn(self.deliver()))
        else:
            self.edge.d1.fail = D1Error("D1_ERROR: down") if step.action == "d1 down" else None
            down = step.action == "kv reads down"
            self.edge.kv.fail_reads = KVError("KV GET failed: 500", 500) if down else None

    async def track(self, worker: Worker, ctx: Any, number: int, step: Step) -> None:
        time = from_wall_us(step.time * 86_400_000_000)
        event = {"user_id": "u", "event_id": str(number), "event_name": "touch"}
        where = {"event_timestamp": time, "conversion_id": step.conversion_id}
        response = await worker.track(ctx, {**event, **where, "utm_source": step.source})
        if response.status == 202:
            self.accepted[step.conversion_id].append(Touch(step.source, time))

    async def deliver(self) -> None:
        """All that waits, in one batch; what failed waits again, and one in three comes twice."""
        now_us = self.edge.runtime.now_us()
        sent, self.edge.queue.sent = self.edge.queue.sent, []
        fresh = [Message(f"{now_us}-{at}", body, now_us) for at, body in enumerate(sent)]
        batch, self.undelivered = [*self.undelivered, *fresh, *fresh[::3]], []
        failed = await self.workers[0].consume(self.context(0), batch)
        self.undelivered += {each.id: each for each in batch if each.id in failed}.values()

    async def told(self, number: int, conversion_id: str, model: str) -> list[tuple[Any, float]]:
        """Sources and credits as isolate ``number`` answers them."""
        ctx = self.context(number)
        response = await self.workers[number].attribution(ctx, conversion_id, model)
        if response.status == 404:
            return []
        answer = json.loads(response.body)["attribution"]
        return [(touch["utm_source"], touch["credit_percentage"]) for touch in answer]

    def expected(self, conversion_id: str, model: str) -> list[tuple[Any, float]]:
        journey = sorted(self.accepted[conversion_id], key=lambda touch: touch.event_timestamp)
        shares = MODELS[model](journey)
        return [
            (touch.utm_source, share.percent) for touch, share in zip(journey, shares, strict=True)
        ]


@given(stories)
@settings(max_examples=60, deadline=None)
def test_c03_c08_c31_every_isolate_ends_up_with_every_touch(story: list[Step]) -> None:
    """Whatever was asked, cached, "not there" or broken before: once the queue is empty and the
    bound is over, every isolate answers for every model with exactly the touches that were
    accepted, and D1 holds the credits of those that it recomputes."""
    site = Site()

    async def work() -> None:
        await site.play(story)
        for conversion_id in ("c1", "c2"):
            for model in KEPT:
                expected = site.expected(conversion_id, model)
                for number in range(len(site.workers)):
                    assert await site.told(number, conversion_id, model) == expected

    site.edge.run(work())
    for model in CONFIG.attribution_models:
        credits_ = site.edge.rows(
            "SELECT conversion_id, utm_source, credit_percentage FROM multi_touch_attribution"
            " WHERE attribution_model = ? ORDER BY conversion_id, touchpoint_index", model,
        )  # fmt: skip
        assert credits_ == [
            (conversion_id, *touch)
            for conversion_id in ("c1", "c2")
            for touch in site.expected(conversion_id, model)
        ]
