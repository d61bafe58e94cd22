"""A queue whose messages lie in a SQLite database until they are handled.

A message is on disk when ``send`` returns and leaves the disk when its handling has been
acknowledged, so a process that dies in between delivers it again: at least once. Messages sent
while others are on their way to the disk go there together. Batches, concurrency and retries are
those of :class:`BatchQueue`, which holds the messages besides. One process at a time may consume
a queue.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from reference_impl.adapters.batch_queue import FULL, MAX_BACKLOG, BatchQueue, Deliver, check_batch
from reference_impl.d1.statements import MAX_BOUND_VALUES, in_parts, marks, places
from reference_impl.ports import (
    D1Database,
    D1Error,
    D1Statement,
    DeadLetter,
    Latch,
    Message,
    QueueError,
    Runtime,
)

MAX_MESSAGE_BYTES = 128_000
MAX_SEND_BYTES = 256_000
"""https://developers.cloudflare.com/queues/platform/limits/, for a message and for a call."""

PAGE = 1000
"""Rows read at a time when a queue is taken up again."""

CREATE = [
    "CREATE TABLE IF NOT EXISTS queue_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    "body TEXT NOT NULL, accepted_us INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, "
    "died_us INTEGER) STRICT",
    "CREATE INDEX IF NOT EXISTS queue_messages_dead ON queue_messages (died_us, id) "
    "WHERE died_us IS NOT NULL",
]
_SEND = "INSERT INTO queue_messages (body, accepted_us) VALUES "
_SENT_AT_ONCE = MAX_BOUND_VALUES // 2
_TAKE_UP = (
    "SELECT id, body, accepted_us, attempts FROM queue_messages "
    "WHERE died_us IS NULL AND id > ? ORDER BY id LIMIT ?"
)
_COUNT_DEAD = "SELECT count(*) AS dead FROM queue_messages WHERE died_us IS NOT NULL"
_HANDLED = "DELETE FROM queue_messages WHERE id IN ({})"
_FAILED = "UPDATE queue_messages SET attempts = ?, died_us = ? WHERE id = ?"
_DEAD = (
    "SELECT id, body, accepted_us, attempts, died_us FROM queue_messages "
    "WHERE died_us IS NOT NULL AND id > ? ORDER BY id LIMIT ?"
)
_REPLAY = (
    "UPDATE queue_messages SET died_us = NULL, attempts = 0 "
    "WHERE id = ? AND died_us IS NOT NULL RETURNING id, body, accepted_us, attempts"
)


class _Outgoing(NamedTuple):
    """A message on its way to the disk."""

    body: Mapping[str, Any]
    text: str
    accepted_us: int


class SqliteQueue:
    """The queue in ``d1``. :meth:`open` it before anything else; it delivers once :meth:`consume`
    has been told to whom."""

    def __init__(
        self, d1: D1Database, runtime: Runtime, close: Callable[[], Awaitable[None]]
    ) -> None:
        self._d1 = d1
        self._close = close
        self._runtime = runtime
        self._batches: BatchQueue | None = None
        self._deliver: Deliver | None = None
        self._outgoing: list[_Outgoing] = []
        self._departure: Latch | None = None
        self.dead_count = 0

    async def open(self) -> None:
        """Make the table if there is none, and count the dead.

        Raises:
            D1Error: when the database cannot be written.
        """
        await self._d1.batch([self._d1.prepare(sql) for sql in CREATE])
        self.dead_count = await self._d1.prepare(_COUNT_DEAD).first("dead")

    async def close(self) -> None:
        """Let go of the database; what was taken and not handled stays there."""
        await self._close()

    async def send(self, body: Mapping[str, Any]) -> None:
        """Take one message; it is on disk when this returns.

        Raises:
            QueueError: a body that is no JSON or over 128 kB, or the database cannot be written.
        """
        await self.send_batch((body,))

    async def send_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Take up to 100 messages of 256 kB together, all or none. Raises as :meth:`send`."""
        check_batch(bodies)
        if not bodies:
            return
        if self.undelivered + len(self._outgoing) + len(bodies) > MAX_BACKLOG:
            raise QueueError(FULL)
        texts = [_text(body) for body in bodies]
        if sum(map(_size, texts)) > MAX_SEND_BYTES:
            raise QueueError(f"a batch of messages may have {MAX_SEND_BYTES} bytes")
        accepted_us = self._runtime.wall_us()
        self._outgoing += map(_Outgoing, bodies, texts, repeat(accepted_us))
        departure = self._departure
        if departure is None:
            departure = self._departure = self._runtime.latch()
            self._runtime.spawn(self._depart(departure))
        await departure.wait()

    async def consume(self, deliver: Deliver, **settings: Any) -> None:
        """Deliver to ``deliver`` from now on, what an earlier process left first; ``settings`` are
        those of :class:`BatchQueue`."""
        self._deliver = deliver
        self._batches = BatchQueue(self._runtime, self._handle, **settings)
        last = 0
        while rows := await self._d1.prepare(_TAKE_UP).bind(last, PAGE).raw():
            self._take_up(rows)
            last = rows[-1][0]

    @property
    def undelivered(self) -> int:
        """Messages taken and neither handled nor given up."""
        return self._batches.undelivered if self._batches else 0

    async def dead_letters(self, limit: int = 100, after: str = "0") -> list[DeadLetter]:
        """As :meth:`ports.DeadLetters.dead_letters`."""
        rows = await self._d1.prepare(_DEAD).bind(_row_id(after), limit).raw()
        return [
            DeadLetter(str(row_id), json.loads(body), attempts, accepted_us, died_us)
            for row_id, body, accepted_us, attempts, died_us in rows
        ]

    async def replay(self, ids: Sequence[str]) -> int:
        """As :meth:`ports.DeadLetters.replay`."""
        if not ids:
            return 0
        updates = [self._d1.prepare(_REPLAY).bind(_row_id(each)) for each in ids]
        rows = [row for result in await self._d1.batch(updates) for row in result.raw]
        self.dead_count -= len(rows)
        self._take_up(rows)
        return len(rows)

    async def _depart(self, departure: Latch) -> None:
        """Bring to the disk what has gathered until now."""
        outgoing, self._outgoing, self._departure = self._outgoing, [], None
        try:
            await self._store(outgoing)
        except D1Error as error:
            departure.fail(QueueError(f"the message could not be stored: {error}"))
        else:
            departure.set()

    async def _store(self, outgoing: Sequence[_Outgoing]) -> None:
        """Commit messages together, and hand them on."""
        parts = in_parts(outgoing, _SENT_AT_ONCE)
        results = await self._d1.batch([self._insert(part) for part in parts])
        for part, result in zip(parts, results, strict=True):
            first = result.meta["last_row_id"] - len(part) + 1
            for row_id, message in enumerate(part, first):
                self._enqueue(row_id, message.body, message.accepted_us, 0)

    def _insert(self, part: Sequence[_Outgoing]) -> D1Statement:
        values = [value for message in part for value in message[1:]]
        return self._d1.prepare(_SEND + places(2, len(part))).bind(*values)

    def _take_up(self, rows: Iterable[Sequence[Any]]) -> None:
        for row_id, text, accepted_us, failures in rows:
            self._enqueue(row_id, json.loads(text), accepted_us, failures)

    def _enqueue(
        self, row_id: int, body: Mapping[str, Any], accepted_us: int, failures: int
    ) -> None:
        """Hand a stored message to whoever batches; before there is a consumer it only lies."""
        if self._batches is None:
            return
        age_us = self._runtime.wall_us() - accepted_us
        taken_us = self._runtime.now_us() - age_us
        self._batches.accept(body, taken_us, str(row_id), attempts=failures + 1)

    async def _handle(self, messages: Sequence[Message]) -> set[str]:
        """Deliver a batch, and write down what became of it before anyone is told."""
        assert self._deliver is not None
        try:
            failed = await self._deliver(messages)
        except Exception:
            await self._settle(messages, {message.id for message in messages})
            raise
        await self._settle(messages, failed)
        return failed

    async def _settle(self, messages: Sequence[Message], failed: set[str]) -> None:
        batches, now_us, statements, died = self._batches, self._runtime.wall_us(), [], 0
        assert batches is not None
        handled = [int(message.id) for message in messages if message.id not in failed]
        for ids in in_parts(handled, MAX_BOUND_VALUES):
            statements.append(self._d1.prepare(_HANDLED.format(marks(len(ids)))).bind(*ids))
        for message in messages:
            if message.id not in failed:
                continue
            dies = batches.is_last(message)
            died += dies
            values = (message.attempts, now_us if dies else None, int(message.id))
            statements.append(self._d1.prepare(_FAILED).bind(*values))
        await self._d1.batch(statements)
        self.dead_count += died


def _row_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{text!r} is no message's ID")
    return int(text)


_as_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def _text(body: Mapping[str, Any]) -> str:
    try:
        text = _as_json(body)
        size = _size(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise QueueError(f"a message must be JSON: {error}") from None
    if size > MAX_MESSAGE_BYTES:
        raise QueueError(f"a message may have {MAX_MESSAGE_BYTES} bytes, not {size}")
    return text


def _size(text: str) -> int:
    """In UTF-8, as the platform counts. Escapes would be three times as long as what they stand
    for, and a hundred messages of the longest IDs no call."""
    return len(text) if text.isascii() else len(text.encode())
