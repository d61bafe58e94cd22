"""A small modelled world in virtual time whose every delay is one exact number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference_impl.messages import Evidence
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from sim.bridge import SimRuntime
from sim.draws import Draws, lives
from sim.edge import EdgeNode, Isolate, IsolatePool
from sim.invocation import Invocation
from sim.kv_store import KVStore
from sim.kv_tiers import Copies, KVNode

MS = 1_000
SECOND = 1_000_000


def always(ms: float) -> dict[str, float]:
    """A latency law that gives ``ms`` every time."""
    return {"p50": ms, "p99": ms}


EXACT: dict[str, Any] = {
    "name": "small",
    "measure": {"warmup_s": 0.5, "window_s": 2.0},
    "workload": {"attribution": {"rate_per_s": 100.0}, "tracking": {"rate_per_s": 100.0}},
    "client": {"rtt_ms": always(10)},
    "edge": {
        "cpu_ms": always(1),
        "isolates_per_node": 1,
        "isolate_lifetime_s": 1e9,
        "cold_start_ms": always(0.001),
    },
    "kv": {
        "read_memory_ms": always(2),
        "read_node_ms": always(2),
        "read_regional_ms": always(20),
        "read_central_ms": always(20),
        "write_ms": always(30),
        "own_write_unseen": 0.0,
    },
    "d1": {"request_overhead_ms": always(3), "commit_ms": always(5), "jitter_cv": 0.0},
    "queue": {"send_ms": always(8), "dispatch_ms": always(9), "batch_timeout_s": 0.5},
    "data": {"max_paths": 30},
}


def scenario(**parts: Any) -> Scenario:
    """The exact scenario with some of its parts changed, as deep as ``parts`` go."""
    return Scenario.model_validate(merged(EXACT, parts))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the parts that ``above`` has in their place; a latency law is one part."""
    found = dict(below)
    for name, value in above.items():
        old = found.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping) and "p50" not in value
        found[name] = merged(old, value) if both and isinstance(old, Mapping) else value
    return found


class Silence:
    """An observer that is told everything and remembers it."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, Evidence, bool]] = []
        self.delays_us: list[int] = []
        self.ages_us: list[tuple[int, int]] = []
        self.unknown_us: list[int] = []

    def batch(self, start_us: int, handling_us: int, evidence: Evidence, *, failed: bool) -> None:
        self.batches.append((start_us, handling_us, evidence, failed))

    def stored(self, accepted_us: int, stored_us: int) -> None:
        self.delays_us.append(stored_us - accepted_us)

    def stale(self, asked_us: int, age_us: int) -> None:
        self.ages_us.append((asked_us, age_us))

    def unknown_age(self, asked_us: int) -> None:
        self.unknown_us.append(asked_us)


def kv_node(runtime: SimRuntime, asked: Scenario) -> KVNode:
    """A node's copies, of which there are none, alone in its region before an empty store."""
    store = KVStore(runtime, asked.kv)
    return KVNode(store, Copies(store), asked.kv)


def edge_node(
    runtime: SimRuntime, asked: Scenario, name: str = "fra", kv: KVNode | None = None
) -> EdgeNode:
    """A node with as many isolates as the scenario says, warm from time 0."""
    config = stack_config(asked)
    pool = IsolatePool(
        lambda: Isolate(runtime, config, asked.edge),
        asked.edge,
        asked.edge.isolates_per_node or 1,
        lives(asked, 1, name),
        warm=True,
    )
    return EdgeNode(name, kv or kv_node(runtime, asked), pool)


def invocation(
    runtime: SimRuntime, asked: Scenario, number: int = 0, node: EdgeNode | None = None
) -> Invocation:
    """A bare invocation at ``node``; one at an empty node "fra" unless given."""
    return Invocation(runtime, Draws(asked, 1), number, node or edge_node(runtime, asked))
