"""L1 before KV in the whole simulation, against two dictionaries and a loop."""

from __future__ import annotations

from typing import Any

import pytest

from reports.samples import Samples
from scenarios.plan import Plan
from sim.kv_tiers import TIERS
from sim.prepare import prepare
from sim.simulate import Replication
from tests.oracles.tiers import two_tiers
from tests.sim.small import always, scenario

QUICK = always(0.001)
ALIKE: dict[str, Any] = {
    "measure": {"start": "cold", "warmup_s": 0.0, "window_s": 400.0},
    "workload": {
        "attribution": {"rate_per_s": 50.0, "zipf_s": 1.0},
        "tracking": {"rate_per_s": 0.0},
    },
    "client": {"rtt_ms": QUICK},
    "edge": {"cpu_ms": QUICK},
    "kv": {"write_ms": QUICK, **{f"read_{tier}_ms": QUICK for tier in TIERS}},
    "d1": {"request_overhead_ms": QUICK, "same_region_rtt_ms": 0.0, "cost": {"base_us": 0}},
}


@pytest.mark.parametrize(("l1_s", "kv_s"), [(10, 60), (30, 200), (90, 60)])
def test_every_look_up_is_answered_by_the_layer_that_must(l1_s: int, kv_s: int) -> None:
    """20,000 look-ups of 40 keys; a copy in KV that lives longer than L1, shorter, and beyond the
    reader's ``cacheTtl``. Answering takes microseconds, in which by chance no look-up falls."""
    kv = {**ALIKE["kv"], "expiration_ttl_s": {"attribution": kv_s}}
    asked = scenario(**{**ALIKE, "l1": {"ttl_s": l1_s}, "kv": kv})
    prepared = prepare(asked)
    samples = Samples()
    Replication(asked, 1, prepared, samples).run()
    plan = Plan(asked, 1, len(prepared.population.conversions))
    look_ups = [
        pair
        for chunk in plan
        for pair in zip(chunk.intended_us.tolist(), chunk.key.tolist(), strict=True)
    ]
    expected = two_tiers(look_ups, l1_s * 1_000_000, kv_s * 1_000_000)
    assert set(expected) == ({"L", "M"} if l1_s > kv_s else {"L", "K", "M"})
    assert samples.table().layers.tolist() == expected
