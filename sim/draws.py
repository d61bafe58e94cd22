"""Every random delay of the world, keyed by seed, part and request number.

A request meets the same delays in virtual and in real time, whatever else happens around it, so
two worlds or two configurations can be compared request by request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import exp

from scenarios.parts import LatencyMs
from scenarios.plan import Plan
from scenarios.regions import D1Region
from scenarios.schema import Scenario
from scenarios.streams import Z99, lognormal_us, stable_fraction, stream, threshold
from scenarios.world import Node

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


class Chances:
    """Whether something rare happens to a request at its ``use``-th time."""

    __slots__ = ("_below", "_part", "_seed")

    def __init__(self, seed: int, part: str, probability: float) -> None:
        self._seed = seed
        self._part = part
        self._below = threshold(probability)

    def happens(self, number: int, use: int = 0) -> bool:
        """The same answer whenever it is asked."""
        if self._below == 0:
            return False
        return stable_fraction(self._seed, self._part, number, use) < self._below


class Draws:
    """All parts of one run. ``prefix`` keeps the consumer's draws apart from the requests'."""

    def __init__(self, scenario: Scenario, seed: int, prefix: str = "") -> None:
        def part(name: str, law: LatencyMs, width: int = 1) -> Delays:
            return Delays(seed, f"{prefix}{name}", law, width)

        kv, d1, queue = scenario.kv, scenario.d1, scenario.queue
        self.client_rtt = {
            node.name: part("client.rtt", node.client_rtt_ms or scenario.client.rtt_ms)
            for node in scenario.edge.nodes
        }
        self.cpu = part("edge.cpu", scenario.edge.cpu_ms)
        self.cold_start = part("edge.cold_start", scenario.edge.cold_start_ms)
        self.kv_read_memory = part("kv.read_memory", kv.read_memory_ms, 2)
        self.kv_read_node = part("kv.read_node", kv.read_node_ms, 2)
        self.kv_read_regional = part("kv.read_regional", kv.read_regional_ms, 2)
        self.kv_read_central = part("kv.read_central", kv.read_central_ms, 2)
        self.kv_write = part("kv.write", kv.write_ms, 3)
        self.kv_list = part("kv.list", kv.list_ms)
        self.kv_own_write_unseen = Chances(seed, f"{prefix}kv.unseen", kv.own_write_unseen)
        self.d1_overhead = part("d1.overhead", d1.request_overhead_ms, 2)
        self.d1_commit = part("d1.commit", d1.commit_ms, 2)
        self.d1_rtt = {
            node.name: part("d1.rtt", _round_trip(scenario, node), 2)
            for node in scenario.edge.nodes
        }
        self.d1_lost = Chances(seed, f"{prefix}d1.lost", d1.lost_share)
        self.d1_replica_rtt = {
            node.name: part("d1.replica_rtt", _round_trip(scenario, node, region), 2)
            for node in scenario.edge.nodes
            if (region := scenario.nearest_replica(node)) is not None
        }
        self.queue_send = part("queue.send", queue.send_ms)
        self.queue_twice = Chances(seed, f"{prefix}queue.twice", queue.duplicate_probability)
        self.queue_dispatch = part("queue.dispatch", queue.dispatch_ms)


def lives(scenario: Scenario, seed: int, node: str) -> Callable[[int, int], int]:
    """How long the isolates of ``node`` live, in microseconds, by slot and generation."""
    mean_us = scenario.edge.isolate_lifetime_s * 1_000_000

    def life_us(slot: int, generation: int) -> int:
        draws = stream(seed, f"edge.life.{node}.{slot}", generation)
        return round(draws.standard_exponential() * mean_us)

    return life_us


def _round_trip(scenario: Scenario, node: Node, replica: D1Region | None = None) -> LatencyMs:
    """The round trip from a node to D1, or to a replica: lognormal around its median with the
    jitter's spread.

    For a small coefficient of variation, the sigma of a lognormal is that coefficient.
    """
    median_ms = max(scenario.d1_round_trip_ms(node, replica), 0.001)
    return LatencyMs(p50=median_ms, p99=median_ms * exp(Z99 * scenario.d1.jitter_cv))
