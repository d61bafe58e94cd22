"""The same world as a SimPy user would first write it: one process a request, no stack.

It plays the same plan with the same delays and answers only how long requests took. Caches are
dictionaries of expiry times, D1's service time is a constant, the CPU of the isolate and the
thread of D1 are SimPy resources, and no statement, key, text or statistic is ever made.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from scenarios.plan import ATTRIBUTION, Chunk, Plan
from scenarios.schema import Scenario
from sim.draws import Draws

READ_US, WRITE_US = 210, 215
BATCH = 10


class NaiveModel:
    """One replication; :meth:`run` answers the latencies in microseconds."""

    def __init__(self, scenario: Scenario, seed: int, conversions: int) -> None:
        self.env = simpy.Environment()
        self.plan = Plan(scenario, seed, conversions)
        self.draws = Draws(scenario, seed)
        self.node = scenario.edge.nodes[0].name
        self.l1_us = scenario.l1.ttl_s * 1_000_000
        self.copy_us = scenario.kv.cache_ttl_s * 1_000_000
        self.kv_us = scenario.kv.expiration_ttl_s["attribution"] * 1_000_000
        self.cpu = simpy.Resource(self.env, 1)
        self.d1 = simpy.Resource(self.env, 1)
        self.l1: dict[int, int] = {}
        self.copies: dict[int, int] = {}
        self.kv: dict[int, int] = {}
        self.queued = 0
        self.latencies: list[int] = []

    def run(self) -> list[int]:
        self.env.process(self.arrivals())
        self.env.run()
        return self.latencies

    def arrivals(self) -> Generator[Any, Any, None]:
        for chunk in self.plan:
            for number, at, route, key in _rows(chunk):
                yield self.env.timeout(at - self.env.now)
                self.env.process(self.request(number, route, key))

    def request(self, number: int, route: int, key: int) -> Generator[Any, Any, None]:
        env, draws = self.env, self.draws
        start = env.now
        rtt = draws.client_rtt[self.node].us(number)
        yield env.timeout(rtt // 2)
        with self.cpu.request() as turn:
            yield turn
            yield env.timeout(draws.cpu.us(number))
        if route == ATTRIBUTION:
            yield from self.look_up(number, key)
        else:
            yield from self.query(number, WRITE_US)
            yield env.timeout(draws.d1_commit.us(number))
            env.process(self.send(number))
        yield env.timeout(rtt // 2)
        self.latencies.append(int(env.now - start))

    def look_up(self, number: int, key: int) -> Generator[Any, Any, None]:
        env, draws = self.env, self.draws
        if self.l1.get(key, 0) > env.now:
            return
        if self.copies.get(key, 0) > env.now:
            yield env.timeout(draws.kv_read_node.us(number))
        else:
            yield env.timeout(draws.kv_read_central.us(number))
            self.copies[key] = int(env.now) + self.copy_us
        if self.kv.get(key, 0) <= env.now:
            yield from self.query(number, READ_US)
            env.process(self.write(number, key))
        self.l1[key] = int(env.now) + self.l1_us

    def query(self, number: int, service: int) -> Generator[Any, Any, None]:
        env, draws = self.env, self.draws
        rtt = draws.d1_rtt[self.node].us(number)
        yield env.timeout(rtt // 2 + draws.d1_overhead.us(number))
        with self.d1.request() as turn:
            yield turn
            yield env.timeout(service)
        yield env.timeout(rtt // 2)

    def write(self, number: int, key: int) -> Generator[Any, Any, None]:
        yield self.env.timeout(self.draws.kv_write.us(number))
        self.kv[key] = int(self.env.now) + self.kv_us

    def send(self, number: int) -> Generator[Any, Any, None]:
        yield self.env.timeout(self.draws.queue_send.us(number))
        self.queued += 1
        if self.queued % BATCH == 0:
            yield self.env.timeout(self.draws.queue_dispatch.us(number))


def _rows(chunk: Chunk) -> Any:
    numbers = range(chunk.first, chunk.first + len(chunk))
    columns = (chunk.intended_us, chunk.route, chunk.key)
    return zip(numbers, *(column.tolist() for column in columns), strict=True)
