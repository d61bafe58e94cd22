"""Cloudflare Queues in the world: what producers meet, and how many consumers there are.

https://developers.cloudflare.com/queues/platform/limits/
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from reference_impl.adapters.batch_queue import BatchQueue, check_batch
from reference_impl.ports import Latch, QueueError, Runtime
from scenarios.services import Queue
from sim.invocation import Invocation

LONG_AGO_US = -(2**62)


class Inlet:
    """The way into one queue: its throughput limit, and the rare message that comes twice."""

    def __init__(self, runtime: Runtime, queue: BatchQueue, settings: Queue) -> None:
        self._runtime = runtime
        self._queue = queue
        self._per_s = settings.throughput_per_s
        self._full_us = LONG_AGO_US
        self.sent = self.refused = self.duplicates = 0

    def accept(
        self, bodies: Sequence[Mapping[str, Any]], accepted_us: int, number: int, *, twice: bool
    ) -> None:
        """Take the messages of one call, all or none; their IDs begin with ``number``.

        Raises:
            QueueError: when the second of them is full, or the queue is.
        """
        now_us = self._runtime.now_us()
        taken_us = round(len(bodies) * 1_000_000 / self._per_s)
        full_us = max(self._full_us, now_us - 1_000_000) + taken_us
        if full_us > now_us:
            self.refused += len(bodies)
            raise QueueError("Too Many Requests")
        self._full_us = full_us
        self.sent += len(bodies)
        self.duplicates += twice * len(bodies)
        for place, body in enumerate(bodies):
            for _ in range(1 + twice):
                self._queue.accept(body, accepted_us, f"{number}.{place}")


class Producer:
    """The producer binding of one invocation; a message carries its request's number in its ID,
    and its handling is drawn for that."""

    __slots__ = ("_inlet", "_inv")

    def __init__(self, inv: Invocation, inlet: Inlet) -> None:
        self._inv = inv
        self._inlet = inlet

    async def send(self, body: Mapping[str, Any]) -> None:
        """Hand over one message; it counts as accepted when handing over begins."""
        await self.send_batch((body,))

    async def send_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Hand over several, which takes as long as one."""
        check_batch(bodies)
        inv = self._inv
        accepted_us = inv.now_us()
        async with inv.connections:
            await inv.sleep(inv.draws.queue_send.us(inv.number))
            twice = inv.draws.queue_twice.happens(inv.number)
            self._inlet.accept(bodies, accepted_us, inv.number, twice=twice)


class Consumers:
    """How many batches are handled at once: one at first, one more whenever a batch ends while
    others wait, one fewer when none does.

    https://developers.cloudflare.com/queues/configuration/consumer-concurrency/: re-evaluated
    only when a batch has been handled; the step is an assumption.
    """

    def __init__(self, runtime: Runtime, most: int) -> None:
        self._runtime = runtime
        self._most = most
        self._allowed = 1
        self._busy = 0
        self._waiting: deque[Latch] = deque()
        self.busy_max = 0

    async def __aenter__(self) -> None:
        if self._busy >= self._allowed:
            turn = self._runtime.latch()
            self._waiting.append(turn)
            await turn.wait()
            return
        self._enter()

    async def __aexit__(self, *_: object) -> None:
        self._busy -= 1
        step = 1 if self._waiting else -1
        self._allowed = min(max(1, self._allowed + step), self._most)
        while self._waiting and self._busy < self._allowed:
            self._enter()
            self._waiting.popleft().set()

    def _enter(self) -> None:
        self._busy += 1
        self.busy_max = max(self.busy_max, self._busy)
