"""The modelled world: clients' network, edge nodes, KV, D1 and queue over the Runtime port.

The same objects run in virtual time under SimPy and in real time behind HTTP. Every invocation
executes the real stack against the modelled services.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from reference_impl.adapters.batch_queue import BatchQueue, check_batch
from reference_impl.adapters.sqlite import D1Binding, SqliteEngine
from reference_impl.ingest import sweep_for_ever
from reference_impl.messages import Context, Evidence
from reference_impl.ports import DeadLetters, Message, Runtime
from reference_impl.worker import Worker
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from sim.d1 import D1Executor, D1Server
from sim.draws import Draws
from sim.edge import EdgeNode, Isolate
from sim.invocation import Invocation
from sim.kv import KVBinding, KVNodeCache, KVStore

T = TypeVar("T")

SWEEPS = 2**41
"""What no request asked for is numbered from here, apart from every plan."""

Call = Callable[[Worker, Context], Awaitable[T]]
"""What an isolate's stack is asked to do for one request."""


class Observer(Protocol):
    """Who is told of what no answer can carry."""

    def batch(
        self, start_us: int, handling_us: int, evidence: Evidence, *, failed: bool
    ) -> None: ...

    def stored(self, accepted_us: int, stored_us: int) -> None: ...


class World:
    """One deployment of the stack in the world of a scenario.

    ``seed`` keys every delay. Time counts on the runtime's clock; the world has no zero of its
    own. An observer is told of queue batches as they are handled.
    """

    def __init__(
        self,
        runtime: Runtime,
        scenario: Scenario,
        seed: int,
        engine: SqliteEngine,
        observer: Observer,
    ) -> None:
        self._runtime = runtime
        self._observer = observer
        self._client = scenario.client
        self._draws = Draws(scenario, seed)
        self._consumer_draws = Draws(scenario, seed, "consumer.")
        self.kv = KVStore(
            runtime,
            round(scenario.kv.propagation_ms * 1000),
            round(1_000_000 / scenario.kv.writes_per_key_per_s),
        )
        self._d1 = D1Server(runtime, engine, scenario.d1)
        self.nodes = [self._node(scenario, node.name) for node in scenario.edge.nodes]
        self._home = self.nodes[_nearest_to_d1(scenario)]
        self._consumer = self._isolate(scenario)
        self._queue = BatchQueue(
            runtime,
            self._consume,
            batch_size=scenario.queue.batch_size,
            batch_timeout_us=round(scenario.queue.batch_timeout_s * 1_000_000),
            max_retries=scenario.queue.max_retries,
            max_concurrency=scenario.queue.max_concurrency,
        )
        self._concurrency = scenario.queue.max_concurrency
        self._services = _Services(runtime, self.kv, self._d1, self._queue)

    def network_us(self, number: int) -> tuple[int, int]:
        """How long request ``number`` travels to its node (connection set-up included) and back."""
        round_trip_us = self._draws.client_rtt.us(number)
        down_us = round_trip_us // 2
        setups = self._client.setup_round_trips if self._client.connections == "new" else 0
        return round_trip_us - down_us + setups * round_trip_us, down_us

    async def invoke(self, number: int, node: EdgeNode, call: Call[T]) -> tuple[T, Evidence]:
        """Run ``call`` in an isolate of ``node``, from the request's arrival to its answer."""
        inv = self._invocation(number, node, self._draws)
        return await self._run(inv, call), inv.evidence

    async def serve(self, number: int, node: EdgeNode, call: Call[T]) -> tuple[T, Evidence]:
        """The same with the client's network before and behind, for a caller in real time."""
        inv = self._invocation(number, node, self._draws)
        up_us, down_us = self.network_us(number)
        await inv.sleep(up_us)
        answer = await self._run(inv, call)
        await inv.sleep(down_us)
        return answer, inv.evidence

    async def _run(self, inv: _BoundInvocation, call: Call[T]) -> T:
        isolate = inv.node.isolate(inv.number)
        isolate.memory.enter()
        try:
            await isolate.compute(inv)
            return await call(isolate.worker, inv)
        finally:
            isolate.memory.leave()

    async def cron(self) -> None:
        """For ever: once a minute the consumer's isolate looks for what was never handled."""
        numbers = itertools.count(SWEEPS)
        await sweep_for_ever(self._runtime, lambda: self._sweep(next(numbers)))

    async def _sweep(self, number: int) -> None:
        inv = self._invocation(number, self._home, self._consumer_draws)
        self._consumer.memory.enter()
        try:
            await self._consumer.compute(inv)
            await self._consumer.worker.sweep(inv)
        finally:
            self._consumer.memory.leave()

    def memory_max_bytes(self) -> int:
        """The most memory that any isolate has held, as accounted."""
        return max(isolate.memory.max_bytes for isolate in self._isolates())

    def counts(self) -> dict[str, int]:
        """What the deployment counted beside its requests' own evidence."""
        caches = [isolate.worker.cache.l2 for isolate in self._isolates()]
        return {
            "kv.writes": self.kv.writes,
            "kv.writes_refused": self.kv.writes_refused,
            "kv.writes_skipped": sum(cache.writes_skipped for cache in caches),
            "kv.read_errors": sum(cache.read_errors for cache in caches),
            "d1.reads": self._d1.reads,
            "d1.writes": self._d1.writes,
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
        """The work asked for so far of each thread of D1, each isolate, and the consumers (a share
        for each of those that may run at once), by part."""
        return {
            "d1": [self._d1.asked_us],
            "isolate": [isolate.asked_us for isolate in self._isolates()],
            "consumers": [self._queue.asked_us // self._concurrency],
        }

    def overworked(self) -> list[str]:
        """Threads that have more work behind and before them than time."""
        threads = [("D1's thread", self._d1.work_us, self._d1.free_at_us)]
        threads += [("an isolate", i.asked_us, i.free_at_us) for i in self._isolates()]
        return [
            f"{name} was to work for {work_us:,} us by {free_at_us:,} us"
            for name, work_us, free_at_us in threads
            if work_us > free_at_us
        ]

    def _node(self, scenario: Scenario, name: str) -> EdgeNode:
        isolates = [self._isolate(scenario) for _ in range(scenario.edge.isolates_per_node)]
        return EdgeNode(name, isolates, KVNodeCache(self._runtime))

    def _isolate(self, scenario: Scenario) -> Isolate:
        return Isolate(self._runtime, stack_config(scenario), scenario.edge)

    def _isolates(self) -> list[Isolate]:
        return [*(isolate for node in self.nodes for isolate in node.isolates), self._consumer]

    def _invocation(self, number: int, node: EdgeNode, draws: Draws) -> _BoundInvocation:
        return _BoundInvocation(self._services, draws, number, node)

    async def _consume(self, messages: Sequence[Message]) -> set[str]:
        """Dispatch one batch to the consumer; its draws are those of its first message."""
        inv = self._invocation(
            int(messages[0].id.partition(".")[0]), self._home, self._consumer_draws
        )
        await inv.sleep(inv.draws.queue_dispatch.us(inv.number))
        start_us = inv.now_us()
        self._consumer.memory.enter()
        try:
            await self._consumer.compute(inv)
            failed = await self._consumer.worker.consume(inv, messages)
        finally:
            self._consumer.memory.leave()
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
    d1: D1Server
    queue: BatchQueue


class _BoundInvocation(Invocation):
    """A Worker's whole context. A binding is made when it is asked for: most requests are
    answered by L1 and need none."""

    __slots__ = ("_services",)

    def __init__(self, services: _Services, draws: Draws, number: int, node: EdgeNode) -> None:
        super().__init__(services.runtime, draws, number, node)
        self._services = services

    @property
    def kv(self) -> KVBinding:
        return KVBinding(self, self._services.kv, self.node.kv_cache)

    @property
    def d1(self) -> D1Binding:
        return D1Binding(D1Executor(self, self._services.d1))

    @property
    def queue(self) -> _QueueBinding:
        return _QueueBinding(self, self._services.queue)


class _QueueBinding:
    """The producer binding of one invocation; a message carries its request's number in its ID."""

    __slots__ = ("_inv", "_queue")

    def __init__(self, inv: Invocation, queue: BatchQueue) -> None:
        self._inv = inv
        self._queue = queue

    async def send(self, body: Mapping[str, Any]) -> None:
        """Hand over one message; it counts as accepted when handing over begins."""
        await self.send_batch((body,))

    async def send_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Hand over several, which takes as long as one. Their IDs begin with the request's
        number, which their handling is drawn for."""
        check_batch(bodies)
        inv = self._inv
        accepted_us = inv.now_us()
        await inv.sleep(inv.draws.queue_send.us(inv.number))
        for place, body in enumerate(bodies):
            self._queue.accept(body, accepted_us, f"{inv.number}.{place}")


def _nearest_to_d1(scenario: Scenario) -> int:
    """The node where the consumer runs (assumption: the platform places it near its database)."""
    distances = [scenario.d1_round_trip_ms(node) for node in scenario.edge.nodes]
    return distances.index(min(distances))
