"""Nodes before one KV store in virtual time; every call is an invocation of its own."""

from __future__ import annotations

from typing import Any

from reference_impl.ports import KVError
from sim.bridge import SimRuntime
from sim.draws import Draws
from sim.invocation import Invocation
from sim.kv import KVBinding
from sim.kv_store import KVStore
from sim.kv_tiers import Copies, KVNode
from tests.sim.small import MS, always, edge_node, scenario

READ_MEMORY_US, READ_NODE_US, READ_REGIONAL_US, READ_CENTRAL_US, WRITE_US = (
    1_009,
    2_001,
    9_011,
    20_003,
    30_007,
)
"""Odd on purpose: everything begins at a whole millisecond, so no two ends fall together."""

REGION_OF = {"fra": "weur", "ams": "weur", "iad": "enam"}

EXACT: dict[str, Any] = {
    "read_memory_ms": always(READ_MEMORY_US / MS),
    "read_node_ms": always(READ_NODE_US / MS),
    "read_regional_ms": always(READ_REGIONAL_US / MS),
    "read_central_ms": always(READ_CENTRAL_US / MS),
    "write_ms": always(WRITE_US / MS),
    "memory_s": 0.0,
    "refresh_ahead": 0.0,
}


class KV:
    """Two nodes in one region and one in another; ``settings`` are of the part ``kv``."""

    def __init__(self, **settings: Any) -> None:
        self.asked = scenario(kv={**EXACT, **settings})
        self.runtime = SimRuntime()
        self.store = KVStore(self.runtime, self.asked.kv)
        regions = {name: Copies(self.store) for name in REGION_OF.values()}
        self.nodes = {
            name: KVNode(self.store, regions[region], self.asked.kv)
            for name, region in REGION_OF.items()
        }
        self.draws = Draws(self.asked, 1)
        self.answers: list[tuple[int, str | None]] = []
        self.took_us: dict[int, int] = {}
        self._calls = 0

    def binding(self, node: str) -> KVBinding:
        kv = self.nodes[node]
        self._calls += 1
        place = edge_node(self.runtime, self.asked, node, kv)
        inv = Invocation(self.runtime, self.draws, self._calls, place)
        return KVBinding(inv, self.store, kv)

    def read(self, at_us: int, node: str, key: str = "k", cache_ttl: int | None = None) -> None:
        async def work() -> None:
            text = await self.binding(node).get(key, cache_ttl=cache_ttl)
            self.answers.append((at_us, text))
            self.took_us[at_us] = self.runtime.now_us() - at_us

        self.runtime.spawn(work(), at_us=at_us)

    def write(
        self, at_us: int, node: str, text: str | None, key: str = "k", ttl: int | None = None
    ) -> None:
        async def work() -> None:
            binding = self.binding(node)
            try:
                if text is None:
                    await binding.delete(key)
                else:
                    await binding.put(key, text, expiration_ttl=ttl, metadata={"of": text})
            except KVError as error:
                self.answers.append((at_us, f"refused {error.status}"))

        self.runtime.spawn(work(), at_us=at_us)

    def run(self) -> dict[int, str | None]:
        """What was answered to whom began when."""
        self.runtime.run()
        assert self.runtime.shutdown() == 0
        return dict(self.answers)
