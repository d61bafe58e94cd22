"""Every random delay of the world, keyed by seed, part and request number.

A request meets the same delays in virtual and in real time, whatever else happens around it, so
two worlds or two configurations can be compared request by request.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp

from scenarios.plan import Plan
from scenarios.schema import Scenario
from scenarios.streams import Z99, lognormal_us, stream
from scenarios.world import LatencyMs, Node

CHUNK = Plan.CHUNK
KEPT_CHUNKS = 16
"""Chunks of draws held at once; requests of one moment lie in a few neighbouring ones."""


class Delays:
    """The draws of one part: ``use`` 0 to ``width - 1`` of a request are drawn in arrays."""

    __slots__ = ("_chunks", "_law", "_part", "_seed", "_width")

    def __init__(self, seed: int, part: str, law: LatencyMs, width: int = 1) -> None:
        self._seed = seed
        self._part = part
        self._law = law
        self._width = width
        self._chunks: OrderedDict[int, list[int]] = OrderedDict()

    def us(self, number: int, use: int = 0) -> int:
        """The delay in microseconds that request ``number`` meets at its ``use``-th time."""
        index, row = divmod(number, CHUNK)
        if use >= self._width:
            generator = stream(self._seed, f"{self._part}.late.{use}", number)
            return int(lognormal_us(generator, self._law, 1)[0])
        chunk = self._chunks.get(index)
        if chunk is None:
            chunk = self._draw(index)
        return chunk[row * self._width + use]

    def _draw(self, index: int) -> list[int]:
        generator = stream(self._seed, self._part, index)
        chunk: list[int] = lognormal_us(generator, self._law, CHUNK * self._width).tolist()
        self._chunks[index] = chunk
        while len(self._chunks) > KEPT_CHUNKS:
            self._chunks.popitem(last=False)
        return chunk


class Draws:
    """All parts of one run. ``prefix`` keeps the consumer's draws apart from the requests'."""

    def __init__(self, scenario: Scenario, seed: int, prefix: str = "") -> None:
        def part(name: str, law: LatencyMs, width: int = 1) -> Delays:
            return Delays(seed, f"{prefix}{name}", law, width)

        kv, d1, queue = scenario.kv, scenario.d1, scenario.queue
        self.client_rtt = part("client.rtt", scenario.client.rtt_ms)
        self.cpu = part("edge.cpu", scenario.edge.cpu_ms)
        self.kv_read_node = part("kv.read_node", kv.read_node_ms, 2)
        self.kv_read_central = part("kv.read_central", kv.read_central_ms, 2)
        self.kv_write = part("kv.write", kv.write_ms, 3)
        self.d1_overhead = part("d1.overhead", d1.request_overhead_ms, 2)
        self.d1_commit = part("d1.commit", d1.commit_ms, 2)
        self.d1_rtt = {
            node.name: part("d1.rtt", _round_trip(scenario, node), 2)
            for node in scenario.edge.nodes
        }
        self.queue_send = part("queue.send", queue.send_ms)
        self.queue_dispatch = part("queue.dispatch", queue.dispatch_ms)


def _round_trip(scenario: Scenario, node: Node) -> LatencyMs:
    """The round trip from a node to D1: lognormal around its median with the jitter's spread.

    For a small coefficient of variation, the sigma of a lognormal is that coefficient.
    """
    median_ms = max(scenario.d1_round_trip_ms(node), 0.001)
    return LatencyMs(p50=median_ms, p99=median_ms * exp(Z99 * scenario.d1.jitter_cv))
