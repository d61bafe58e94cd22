"""No answer is older than its lifetimes allow (docs/staleness.md), and some nearly are."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, Response
from scenarios.requests import event_of
from scenarios.schema import Scenario
from sim.bridge import SimRuntime
from sim.prepare import Prepared, prepare
from sim.world import World
from tests.sim.small import MS, SECOND, Silence, scenario

pytestmark = pytest.mark.slow

SEEDS = 200
LOOK_UPS, TOUCHES = 150, 2
HORIZON_US = 110 * SECOND

NODES = [
    {"name": "fra", "region": "weur", "share": 0.4},
    {"name": "ams", "region": "weur", "share": 0.3},
    {"name": "iad", "region": "enam", "share": 0.3},
]
SETTINGS: dict[str, dict[str, Any]] = {
    "short copies": {"l1": {"ttl_s": 5}, "kv": {"cache_ttl_s": 30}},
    "long memory": {"l1": {"ttl_s": 20}, "kv": {"cache_ttl_s": 30}},
    "propagation": {"l1": {"ttl_s": 5}, "kv": {"cache_ttl_s": 30, "propagation_ms": 20_000}},
    "purge": {"l1": {"ttl_s": 5}, "kv": {"cache_ttl_s": 3600, "purge_s": 25}},
    "expiration": {
        "l1": {"ttl_s": 10},
        "kv": {"cache_ttl_s": 60, "expiration_ttl_s": {"attribution": 60}, "stale_ttl_s": 10},
        "queue": {"batch_timeout_s": 60.0, "batch_size": 100},
    },
}


BACK_US, FETCH_US = 45 * MS, SECOND
"""From a commit to the Worker that hears of it, at most; and the longest prompt fetch."""


def bound_us(asked: Scenario, stored_us: int) -> int:
    """The formula of docs/staleness.md; ``stored_us`` is the longest way of an accepted event."""
    kv = asked.kv
    refresh_us = BACK_US + stored_us
    copies_s = kv.cache_ttl_s if kv.purge_s is None else min(kv.cache_ttl_s, kv.purge_s)
    followed_us = refresh_us + round((kv.propagation_ms / 1000 + copies_s + asked.l1.ttl_s) * 1e6)
    ended_us = (kv.expiration_ttl_s["attribution"] + kv.stale_ttl_s) * SECOND + FETCH_US
    return min(followed_us, ended_us)


def oldest_us(asked: Scenario, prepared: Prepared, seed: int) -> tuple[int, int]:
    """The oldest stale answer of one run, and its bound; look-ups and touches of one conversion
    at random."""
    draws = random.Random(seed)
    runtime, observer = SimRuntime(), Silence()
    world = World(runtime, asked, seed, prepared.clone_engine(), observer)
    conversions = prepared.population.conversions

    def start(number: int, at_us: int, touch: bool) -> None:
        async def call(worker: Worker, ctx: Context) -> Response:
            if not touch:
                return await worker.attribution(ctx, conversions[0].conversion_id, "linear")
            event = event_of(conversions, f"{seed}", number, 0, True, runtime.wall_us())
            return await worker.track(ctx, event)

        async def ask() -> None:
            await world.invoke(number, draws.choice(world.nodes), call)

        runtime.spawn(ask(), at_us=at_us)

    for number in range(LOOK_UPS):
        start(number, draws.randrange(HORIZON_US), touch=False)
    for number in range(LOOK_UPS, LOOK_UPS + TOUCHES):
        start(number, draws.randrange(HORIZON_US // 3), touch=True)
    runtime.run()
    runtime.shutdown()
    oldest = max((age_us for _, age_us in observer.ages_us), default=0)
    return oldest, bound_us(asked, max(observer.delays_us))


@pytest.mark.parametrize("name", SETTINGS)
def test_no_answer_is_older_than_its_lifetimes_allow(name: str) -> None:
    """Over 200 seeds of each of five settings the oldest answer is within the bound, and within
    a tenth of it."""
    edge = {"nodes": NODES, "isolates_per_node": 2}
    asked = scenario(edge=edge, data={"max_paths": 1}, **SETTINGS[name])
    prepared = prepare(asked)
    found = [oldest_us(asked, prepared, seed) for seed in range(SEEDS)]
    assert [one for one in found if one[0] > one[1]] == []
    used = sorted(oldest / bound for oldest, bound in found)
    assert used[-1] > 0.9
    assert used[len(used) // 2] > 0.4
