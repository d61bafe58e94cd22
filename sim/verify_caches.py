"""Hit ratios of the world's caches, measured for :mod:`sim.verify`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference_impl.cache.l1 import L1Cache
from reports.samples import Samples
from scenarios.plan import US_PER_S, Plan
from scenarios.schema import Scenario
from scenarios.services import KV
from sim import theory
from sim.batch_means import Mean, batch_mean
from sim.bridge import SimRuntime
from sim.kv_store import NEVER_US, KVStore, Version
from sim.kv_tiers import TIERS, Copies, Copy
from sim.prepare import prepare
from sim.simulate import Replication
from sim.verify_queues import WARM_UP, drive, exponential_us

KEY = "key"
TTL_US = 60 * US_PER_S


def node_copy(wanted: float, size: int, seed: int) -> list[tuple[float, Mean]]:
    """Theory and hit ratio of a node's copy of one key, read ``wanted`` times a ``cacheTtl``."""
    runtime = SimRuntime()
    copies = Copies(KVStore(runtime, KV()))

    def hits(now_us: int) -> bool:
        if copies.fresh(KEY, TTL_US, now_us) is not None:
            return True
        copies.keep(KEY, Copy(Version("text", None, NEVER_US), now_us))
        return False

    return _hit_ratio(runtime, hits, "node", wanted, size, seed)


def l1_entry(wanted: float, size: int, seed: int) -> list[tuple[float, Mean]]:
    """The same for one entry of L1."""
    runtime = SimRuntime()
    memory = L1Cache(runtime.now_us, 2**20, 10)

    def hits(now_us: int) -> bool:
        if memory.get(KEY) is not None:
            return True
        memory.set(KEY, "text", now_us + TTL_US)
        return False

    return _hit_ratio(runtime, hits, "l1", wanted, size, seed)


def _hit_ratio(
    runtime: SimRuntime,
    hits: Callable[[int], bool],
    part: str,
    wanted: float,
    size: int,
    seed: int,
) -> list[tuple[float, Mean]]:
    gap_us = TTL_US / wanted
    gaps_us = exponential_us(seed, f"{part}.{wanted}.gaps", size, gap_us)
    answers: list[bool] = []
    drive(runtime, gaps_us, lambda _number, now_us: answers.append(hits(now_us)))
    found = batch_mean(np.array(answers, float), [gaps_us - gap_us])
    return [(theory.ttl_shares(1.0, wanted).hit, found)]


TTL_S = 60
KV_S, D1_S = 10.0, 20.0
"""How long KV and D1 take to answer in :func:`population`: long, so that many look-ups join."""


def population(size: int, seed: int) -> list[tuple[float, Mean]]:
    """Theory and shares (hit, joined, miss) of a whole world whose look-ups are Zipf over keys.

    Every part runs: plan, isolate, L1, KV, D1 with its statements. L1 keeps what KV keeps, so an
    entry's life begins when its fetch is over, and a fetch takes KV's answer and D1's.
    """
    asked = Scenario.model_validate(_settings(size))
    prepared = prepare(asked)
    samples = Samples()
    Replication(asked, seed, prepared, samples).run()
    layers = samples.table().layers
    plan = Plan(asked, seed, len(prepared.population.conversions))
    expected = theory.ttl_shares_of_all(plan.rates_per_s(), TTL_S, KV_S + D1_S)
    answered = [np.isin(layers, letters) for letters in (["L", "K"], ["J"], ["M"])]
    first = round(len(layers) * WARM_UP)
    return [
        (share, batch_mean(given[first:].astype(float)))
        for share, given in zip(expected, answered, strict=True)
    ]


def _settings(size: int) -> dict[str, Any]:
    def always(ms: float) -> dict[str, float]:
        return {"p50": ms, "p99": ms}

    quick, rate_per_s = always(0.001), 2.0
    return {
        "name": "population",
        "measure": {"start": "cold", "warmup_s": 0.0, "window_s": size / rate_per_s},
        "workload": {
            "attribution": {"rate_per_s": rate_per_s, "zipf_s": 1.0},
            "tracking": {"rate_per_s": 0.0},
        },
        "client": {"rtt_ms": quick, "timeout_s": 60.0},
        "edge": {"cpu_ms": quick, "cold_start_ms": quick, "isolate_lifetime_s": 1e9},
        "l1": {"ttl_s": 10 * TTL_S},
        "kv": {
            "expiration_ttl_s": {"attribution": TTL_S},
            **{f"read_{tier}_ms": always(KV_S * 1000) for tier in TIERS},
            "write_ms": quick,
            "own_write_unseen": 0.0,
        },
        "d1": {
            "request_overhead_ms": always(D1_S * 1000),
            "same_region_rtt_ms": 0.0,
            "jitter_cv": 0.0,
            "cost": {"base_us": 0},
        },
        "data": {"max_paths": 50},
    }
