"""A queue in memory that delivers in batches, at least once, over the Runtime port.

A batch leaves when it is full or when its oldest message has waited for the batch time-out,
whichever comes first (https://developers.cloudflare.com/queues/configuration/batching-retries/).
What takes time around it (handing over, dispatch) belongs to whoever delivers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from reference_impl.ports import DeadLetter, Limiter, Message, QueueError, Runtime

Deliver = Callable[[Sequence[Message]], Awaitable[set[str]]]
"""Handles a batch and answers the IDs of the messages to deliver again.

One that raises is told on to the runtime, and the whole batch is delivered again.
"""

MAX_BACKLOG = 1_000_000
"""Messages held before sending is refused; the platform's own bound is 25 GB of backlog."""


MAX_DOUBLINGS = 10
"""Of the wait before a message is delivered again."""

MAX_BATCH = 100
"""https://developers.cloudflare.com/queues/platform/limits/: messages of one ``send_batch``."""

MAX_DEAD = 10_000
"""Dead messages kept; a queue in memory drops the oldest beyond."""

FULL = "Storage Limit Exceeded"


def check_batch(bodies: Sequence[Mapping[str, Any]]) -> None:
    """Refuse more messages in one call than the platform takes."""
    if len(bodies) > MAX_BATCH:
        raise QueueError(f"{len(bodies)} messages in one batch; {MAX_BATCH} at most")


class BatchQueue:
    """Batches of at most ``batch_size``, at most ``max_concurrency`` being handled at once.

    A message to be delivered again waits ``retry_delay_us`` first, and each time twice as long.
    ``consumers`` lets batches in instead, where that number is not fixed.
    """

    def __init__(
        self,
        runtime: Runtime,
        deliver: Deliver,
        *,
        batch_size: int = 10,
        batch_timeout_us: int = 5_000_000,
        max_retries: int = 3,
        max_concurrency: int = 250,
        retry_delay_us: int = 0,
        consumers: Limiter | None = None,
    ) -> None:
        self._runtime = runtime
        self._deliver = deliver
        self._batch_size = batch_size
        self._batch_timeout_us = batch_timeout_us
        self._max_retries = max_retries
        self._retry_delay_us = retry_delay_us
        self._consumers = runtime.limiter(max_concurrency) if consumers is None else consumers
        self._waiting: deque[Message] = deque()
        self._sent = 0
        self._undelivered = 0
        self._waiting_since_us = 0
        self._watched = False
        self._deliveries = self._busy_us = 0
        self.dead: deque[DeadLetter] = deque(maxlen=MAX_DEAD)
        self.dead_count = 0

    async def send(self, body: Mapping[str, Any]) -> None:
        """Take one message.

        Raises:
            QueueError: when a million messages are waiting already.
        """
        self.accept(body, self._runtime.now_us(), f"m{self._sent}")

    async def send_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Take up to 100 messages.

        Raises:
            QueueError: when there are more, or no room for all of them; then none is taken.
        """
        check_batch(bodies)
        if self._undelivered + len(bodies) > MAX_BACKLOG:
            raise QueueError(FULL)
        for body in bodies:
            await self.send(body)

    def accept(
        self, body: Mapping[str, Any], accepted_us: int, message_id: str, *, attempts: int = 1
    ) -> None:
        """Take one message under an ID of the caller's, accepted at ``accepted_us``.

        Raises:
            QueueError: as :meth:`send` does.
        """
        if self._undelivered >= MAX_BACKLOG:
            raise QueueError(FULL)
        self._sent += 1
        self._undelivered += 1
        self._put(Message(message_id, body, accepted_us, attempts))

    def is_last(self, message: Message) -> bool:
        """Whether this delivery is the message's last, so that it is dead if it fails."""
        return message.attempts > self._max_retries

    @property
    def undelivered(self) -> int:
        """Messages taken and neither handled nor given up."""
        return self._undelivered

    @property
    def accepted(self) -> int:
        """Messages taken so far."""
        return self._sent

    @property
    def asked_us(self) -> int:
        """The work that the messages taken so far ask of consumers: as much for each as for those
        that were delivered."""
        return self._sent * self._busy_us // self._deliveries if self._deliveries else 0

    def _put(self, message: Message) -> None:
        if not self._waiting:
            self._waiting_since_us = self._runtime.now_us()
        self._waiting.append(message)
        if len(self._waiting) >= self._batch_size:
            self._leave()
        elif not self._watched:
            self._watched = True
            self._runtime.spawn(self._watch())

    async def _watch(self) -> None:
        """Send off a batch that does not fill up in time. One job does it for all, since most
        batches fill up."""
        while self._waiting:
            due_us = self._waiting_since_us + self._batch_timeout_us
            if self._runtime.now_us() >= due_us:
                self._leave()
            else:
                await self._runtime.sleep_until(due_us)
        self._watched = False

    def _leave(self) -> None:
        batch, self._waiting = tuple(self._waiting), deque()
        self._runtime.spawn(self._handle(batch))

    async def _handle(self, batch: Sequence[Message]) -> None:
        try:
            async with self._consumers:
                began_us = self._runtime.now_us()
                failed = await self._deliver(batch)
                self._busy_us += self._runtime.now_us() - began_us
                self._deliveries += len(batch)
        except Exception:
            self._settle(batch, {message.id for message in batch})
            raise
        self._settle(batch, failed)

    def _settle(self, batch: Sequence[Message], failed: set[str]) -> None:
        for message in batch:
            if message.id in failed and not self.is_last(message):
                self._retry(message)
                continue
            self._undelivered -= 1
            if message.id in failed:
                self._bury(message)

    def _retry(self, message: Message) -> None:
        again = message._replace(attempts=message.attempts + 1)
        if self._retry_delay_us:
            self._runtime.spawn(self._put_later(again))
        else:
            self._put(again)

    async def _put_later(self, message: Message) -> None:
        doublings = min(message.attempts - 2, MAX_DOUBLINGS)
        await self._runtime.sleep(self._retry_delay_us << doublings)
        self._put(message)

    def _bury(self, message: Message) -> None:
        died_us = self._runtime.wall_us()
        accepted_us = died_us - (self._runtime.now_us() - message.accepted_us)
        self.dead.append(
            DeadLetter(message.id, message.body, message.attempts, accepted_us, died_us)
        )
        self.dead_count += 1

    async def dead_letters(self, limit: int = 100, after: str = "0") -> list[DeadLetter]:
        """As :meth:`ports.DeadLetters.dead_letters`; one that has gone is behind none."""
        letters = list(self.dead)
        places = [place for place, letter in enumerate(letters) if letter.id == after]
        start = places[0] + 1 if places else 0
        return letters[start : start + limit]

    async def replay(self, ids: Sequence[str]) -> int:
        """As :meth:`ports.DeadLetters.replay`."""
        wanted = set(ids)
        raised = [letter for letter in self.dead if letter.id in wanted]
        for letter in raised:
            self.dead.remove(letter)
            age_us = self._runtime.wall_us() - letter.accepted_us
            self._undelivered += 1
            self._put(Message(letter.id, letter.body, self._runtime.now_us() - age_us))
        self.dead_count -= len(raised)
        return len(raised)
