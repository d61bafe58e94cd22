"""The modelled world: clients' network, edge nodes, KV, D1 and queue over the Runtime port.

The same objects run in virtual time under SimPy and in real time behind HTTP. Every invocation
executes the real stack against the modelled services.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from reference_impl.adapters.batch_queue import BatchQueue
from reference_impl.adapters.d1_binding import D1Binding
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.isolate.ingest import sweep_for_ever
from reference_impl.isolate.worker import ATTRIBUTION, Worker
from reference_impl.messages import Context, Evidence, Response
from reference_impl.ports import DeadLetters, Message, Runtime
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from scenarios.world import Node
from sim.d1 import D1Server, Span
from sim.d1_database import Commit, D1Database, D1Executor, Replica
from sim.draws import Draws, lives
from sim.edge import EdgeNode, Isolate, IsolatePool, isolates_for
from sim.freshness import Freshness
from sim.invocation import Invocation
from sim.kv import KVBinding
from sim.kv_store import KVStore
from sim.kv_tiers import TIERS, Copies, KVNode
from sim.queue import Consumers, Inlet, Producer

SWEEPS = 2**41
"""What no request asked for is numbered from here, apart from every plan."""

Call = Callable[[Worker, Context], Awaitable[Response]]
"""What an isolate's stack is asked to do for one request."""


class Observer(Protocol):
    """Who is told of what no answer can carry."""

    def batch(
        self, start_us: int, handling_us: int, evidence: Evidence, *, failed: bool
    ) -> None: ...

    def stored(self, accepted_us: int, stored_us: int) -> None: ...

    def stale(self, asked_us: int, age_us: int) -> None: ...

    def unknown_age(self, asked_us: int) -> None: ...


class World:
    """One deployment of the stack in the world of a scenario.

    ``seed`` keys every delay. Time counts on the runtime's clock, where the plan's time 0 is
    ``zero_us``. An observer is told of queue batches as they are handled.
    """

    def __init__(
        self,
        runtime: Runtime,
        scenario: Scenario,
        seed: int,
        engine: SqliteEngine,
        observer: Observer,
        zero_us: int = 0,
    ) -> None:
        self._runtime = runtime
        self._seed = seed
        self._zero_us = zero_us
        self._observer = observer
        self._client = scenario.client
        self._draws = Draws(scenario, seed)
        self._consumer_draws = Draws(scenario, seed, "consumer.")
        self.kv = KVStore(runtime, scenario.kv, _spans(scenario, "kv_outage", zero_us))
        self.kv_regions = {node.region: Copies(self.kv) for node in scenario.edge.nodes}
        self._freshness = Freshness(engine, observer.stale, observer.unknown_age)
        self._d1 = self._database(scenario, engine)
        self.nodes = [self._node(scenario, node) for node in scenario.edge.nodes]
        self._home = self.nodes[_nearest_to_d1(scenario)]
        self._consumer = self._pool(scenario, "consumer", 1)
        self._consumers = Consumers(runtime, scenario.queue.max_concurrency)
        self._queue = BatchQueue(
            runtime,
            self._consume,
            batch_size=scenario.queue.batch_size,
            batch_timeout_us=round(scenario.queue.batch_timeout_s * 1_000_000),
            max_retries=scenario.queue.max_retries,
            consumers=self._consumers,
        )
        self._concurrency = scenario.queue.max_concurrency
        self._inlet = Inlet(runtime, self._queue, scenario.queue)
        self._services = _Services(runtime, self.kv, self._d1, self._inlet)
        self._behind = self._services._replace(d1=self._d1.without_sessions())

    def network_us(self, number: int, node: EdgeNode) -> tuple[int, int]:
        """How long request ``number`` travels to ``node`` (connection set-up included) and back."""
        round_trip_us = self._draws.client_rtt[node.name].us(number)
        down_us = round_trip_us // 2
        setups = self._client.setup_round_trips if self._client.connections == "new" else 0
        return round_trip_us - down_us + setups * round_trip_us, down_us

    async def invoke(
        self, number: int, node: EdgeNode, call: Call, about: str | None = None
    ) -> tuple[Response, Evidence]:
        """Run ``call`` in an isolate of ``node``, from the request's arrival to its answer.

        ``about`` is the conversion that a look-up asks for, if the caller knows.
        """
        inv = self._invocation(number, node)
        return await self._run(inv, call, about), inv.evidence

    async def serve(self, number: int, node: EdgeNode, call: Call) -> tuple[Response, Evidence]:
        """The same with the client's network before and behind, for a caller in real time."""
        inv = self._invocation(number, node)
        up_us, down_us = self.network_us(number, node)
        await inv.sleep(up_us)
        answer = await self._run(inv, call, None)
        await inv.sleep(down_us)
        return answer, inv.evidence

    async def _run(self, inv: _BoundInvocation, call: Call, about: str | None) -> Response:
        asked_us = inv.now_us()
        isolate = inv.node.pool.take(inv, asked_us)
        isolate.enter(asked_us)
        try:
            await isolate.compute(inv, asked_us)
            answer = await call(isolate.worker, inv)
        finally:
            isolate.leave()
        if answer.route == ATTRIBUTION and answer.status == 200:
            self._freshness.answered(answer.body, asked_us, about)
        return answer

    async def cron(self) -> None:
        """For ever: once a minute the consumer's isolate looks for what was never handled."""
        numbers = itertools.count(SWEEPS)
        await sweep_for_ever(self._runtime, lambda: self._sweep(next(numbers)))

    async def _sweep(self, number: int) -> None:
        inv = _BoundInvocation(self._behind, self._consumer_draws, number, self._home)
        now_us = inv.now_us()
        isolate = self._consumer.take(inv, now_us)
        isolate.enter(now_us)
        try:
            await isolate.compute(inv, now_us)
            await isolate.worker.sweep(inv)
        finally:
            isolate.leave()

    def memory_max_bytes(self) -> int:
        """The most memory that any isolate has held, as accounted."""
        return max(pool.memory_max_bytes for pool in self._pools())

    def counts(self) -> dict[str, int]:
        """What the deployment counted beside its requests' own evidence."""
        pools = self._pools()
        caches = [cache for pool in pools for cache in pool.caches]
        return {
            "isolates.cold_starts": sum(pool.cold_starts for pool in pools),
            "isolates.ended": sum(pool.ended for pool in pools),
            "isolates.memory_exceeded": sum(pool.exceeded for pool in pools),
            **{f"kv.reads.{tier}": sum(n.kv.reads[tier] for n in self.nodes) for tier in TIERS},
            "kv.own_writes_unseen": sum(node.kv.unseen_writes_read for node in self.nodes),
            "d1.lost": self._d1.lost,
            "d1.retried": self._d1.retried,
            **self._d1.primary.counts(),
            "kv.writes": self.kv.writes,
            "kv.writes_refused": self.kv.writes_refused,
            "kv.writes_skipped": sum(cache.writes_skipped for cache in caches),
            "kv.read_errors": sum(cache.read_errors for cache in caches),
            "d1.reads": self._d1.primary.reads,
            "d1.writes": self._d1.primary.writes,
            "queue.sent": self._inlet.sent,
            "queue.refused": self._inlet.refused,
            "queue.duplicates": self._inlet.duplicates,
            "queue.consumers_max": self._consumers.busy_max,
            "queue.undelivered": self._queue.undelivered,
            "queue.dead": self._queue.dead_count,
        }

    @property
    def dead_letters(self) -> DeadLetters:
        """What the queue has given up."""
        return self._queue

    @property
    def accepted_messages(self) -> int:
        """How many messages the queue has taken."""
        return self._queue.accepted

    def asked_us(self) -> dict[str, list[int]]:
        """The work asked for so far of each thread of D1, each isolate of a node, the consumers'
        isolate, and the consumers (a share for each of those that may run at once), by part."""
        return {
            "d1": [server.asked_us for server in self._d1.instances()],
            "isolate": [us for node in self.nodes for us in node.pool.asked_us()],
            "consumer_isolate": self._consumer.asked_us(),
            "consumers": [self._queue.asked_us // self._concurrency],
        }

    def overworked(self) -> list[str]:
        """Threads that have more work behind and before them than time."""
        primary, pools = self._d1.primary, self._pools()
        threads = [("D1's thread", primary.work_us, primary.free_at_us)]
        threads += [
            ("an isolate", isolate.asked_us, isolate.free_at_us)
            for pool in pools
            for isolate in pool.isolates
        ]
        return [
            f"{name} was to work for {work_us:,} us by {free_at_us:,} us"
            for name, work_us, free_at_us in threads
            if work_us > free_at_us
        ]

    def _database(self, scenario: Scenario, engine: SqliteEngine) -> D1Database:
        settings, log = scenario.d1, list[Commit]()
        stalls = _spans(scenario, "d1_stall", self._zero_us)
        primary = D1Server(self._runtime, engine, settings, stalls)
        regions = {node.name: scenario.nearest_replica(node) for node in scenario.edge.nodes}
        made = {
            region: Replica(
                self._runtime,
                SqliteEngine.from_snapshot(engine.snapshot()),
                settings,
                log,
                (self._seed, f"d1.lag.{region}"),
                self._zero_us,
            )
            for region in dict.fromkeys(regions.values())
            if region is not None
        }
        near = {name: made[region] for name, region in regions.items() if region is not None}
        return D1Database(primary, settings, near, log, self._freshness.committed)

    def _node(self, scenario: Scenario, node: Node) -> EdgeNode:
        kv = KVNode(self.kv, self.kv_regions[node.region], scenario.kv)
        size = isolates_for(scenario.edge, scenario.workload.rate_per_s * node.share)
        return EdgeNode(node.name, kv, self._pool(scenario, node.name, size))

    def _pool(self, scenario: Scenario, name: str, size: int) -> IsolatePool:
        config = stack_config(scenario)
        return IsolatePool(
            lambda: Isolate(self._runtime, config, scenario.edge),
            scenario.edge,
            size,
            lives(scenario, self._seed, name),
            warm=scenario.measure.start == "steady",
            zero_us=self._zero_us,
        )

    def _pools(self) -> list[IsolatePool]:
        return [*(node.pool for node in self.nodes), self._consumer]

    def _invocation(self, number: int, node: EdgeNode) -> _BoundInvocation:
        return _BoundInvocation(self._services, self._draws, number, node)

    async def _consume(self, messages: Sequence[Message]) -> set[str]:
        """Dispatch one batch to a consumer; its draws are those of its first message."""
        number = int(messages[0].id.partition(".")[0])
        inv = _BoundInvocation(self._behind, self._consumer_draws, number, self._home)
        await inv.sleep(inv.draws.queue_dispatch.us(inv.number))
        start_us = inv.now_us()
        isolate = self._consumer.take(inv, start_us)
        isolate.enter(start_us)
        try:
            await isolate.compute(inv, start_us)
            failed = await isolate.worker.consume(inv, messages)
        finally:
            isolate.leave()
        end_us = inv.now_us()
        self._observer.batch(start_us, end_us - start_us, inv.evidence, failed=bool(failed))
        for message in messages:
            if message.id not in failed:
                self._observer.stored(message.accepted_us, end_us)
        return failed


class _Services(NamedTuple):
    """What every invocation of one world is bound to."""

    runtime: Runtime
    kv: KVStore
    d1: D1Database
    queue: Inlet


class _BoundInvocation(Invocation):
    """A Worker's whole context. A binding is made when it is asked for: most requests are
    answered by L1 and need none."""

    __slots__ = ("_services",)

    def __init__(self, services: _Services, draws: Draws, number: int, node: EdgeNode) -> None:
        super().__init__(services.runtime, draws, number, node)
        self._services = services

    @property
    def kv(self) -> KVBinding:
        return KVBinding(self, self._services.kv, self.node.kv)

    @property
    def d1(self) -> D1Binding:
        return D1Binding(D1Executor(self, self._services.d1))

    @property
    def queue(self) -> Producer:
        return Producer(self, self._services.queue)


def _nearest_to_d1(scenario: Scenario) -> int:
    """The node where the consumer runs (assumption: the platform places it near its database)."""
    distances = [scenario.d1_round_trip_ms(node) for node in scenario.edge.nodes]
    return distances.index(min(distances))


def _spans(scenario: Scenario, kind: str, zero_us: int) -> list[Span]:
    """When faults of ``kind`` last, on the runtime's clock."""
    return [
        (
            zero_us + round(fault.from_s * 1_000_000),
            zero_us + round((fault.from_s + fault.for_s) * 1_000_000),
        )
        for fault in scenario.faults
        if fault.kind == kind
    ]
