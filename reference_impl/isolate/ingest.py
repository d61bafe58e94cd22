"""How events are accepted, and how none is lost between acceptance and what follows from it.

- ``d1``: the committed row is the outbox. Its message goes in the background, and a sweep sends
  again what was never handled.
- ``queue``: the request waits for the send. The message carries the event, and the consumer writes
  the row.

Either way a message may come twice, and an event counts once by its ``event_id``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from reference_impl.config import Accept
from reference_impl.d1.event_store import Arrival, Due, EventStore
from reference_impl.d1.statements import in_parts
from reference_impl.events import MAX_EVENTS, Event, InvalidEvent, parse_event
from reference_impl.messages import Context
from reference_impl.ports import D1Error, Message, QueueError, Runtime
from reference_impl.times import from_wall_us, to_wall_us

PATIENCE_US = 120_000_000
"""How long a message may be under way before it is sent again (assumption: over the time-out of a
batch and its retries). Each time it waits as long as the event is old, so ever longer."""

MAX_PATIENCE_US = 86_400_000_000
SWEPT_AT_ONCE = 100
"""As many as one batch of messages takes."""

SWEEPS = 50
"""Batches of one sweep; what is left is due at the next one."""


SWEEP_EVERY_US = 60_000_000
"""https://developers.cloudflare.com/workers/configuration/cron-triggers/: at most once a minute."""


async def sweep_for_ever(runtime: Runtime, sweep: Callable[[], Awaitable[object]]) -> None:
    """The cron trigger: ``sweep`` once a minute. One that fails is followed by the next."""
    while True:
        await runtime.sleep(SWEEP_EVERY_US)
        with suppress(D1Error, QueueError):
            await sweep()


class Handled(NamedTuple):
    """A message that was understood."""

    message_id: str
    conversion_id: str | None
    event_id: str | None
    """Of an event in the outbox; None for one that came with the message."""


class Ingest:
    """One isolate's part in taking events in."""

    def __init__(self, runtime: Runtime, events: EventStore, accept: Accept) -> None:
        self._runtime = runtime
        self._events = events
        self._accept = accept
        self._outgoing: list[Mapping[str, Any]] = []
        self.sends_failed = 0
        self.resent = 0

    def counts(self) -> dict[str, int]:
        """Messages of committed events that the queue did not take, and those sent again."""
        return {"sends_failed": self.sends_failed, "resent": self.resent}

    async def take(self, ctx: Context, events: Sequence[Event]) -> list[bool | None]:
        """Make events durable, all or none; for each whether it is new, None where only the
        consumer will know.

        Raises:
            D1Error, QueueError: when they are not known to be durable.
        """
        now_us = self._runtime.wall_us()
        created_at = from_wall_us(now_us)
        if self._accept == "queue":
            await ctx.queue.send_batch([_carrying(event, created_at) for event in events])
            return [None] * len(events)
        arrivals = [
            Arrival(event, created_at, _resend_at(event, now_us + PATIENCE_US)) for event in events
        ]
        new = await self._events.insert(ctx, arrivals)
        none_waits = not self._outgoing
        self._outgoing += [
            _announcing(event.identity(), event.conversion_id)
            for event, is_new in zip(events, new, strict=True)
            if is_new
        ]
        if none_waits and self._outgoing:
            ctx.wait_until(self._announce(ctx))
        return [*new]

    async def store(self, ctx: Context, messages: Sequence[Message]) -> list[Handled]:
        """Store the events that messages carry; those that were understood and are stored."""
        understood: list[Handled] = []
        carried: dict[str, Arrival] = {}
        for message in messages:
            try:
                arrival = _carried(message.body)
            except InvalidEvent:
                continue
            if arrival is not None:
                carried[message.id] = arrival
                understood.append(Handled(message.id, arrival.event.conversion_id, None))
            elif isinstance(event_id := message.body.get("event_id"), str):
                conversion_id = message.body.get("conversion_id")
                understood.append(Handled(message.id, conversion_id, event_id))
        if carried:
            try:
                await self._events.insert(ctx, list(carried.values()))
            except D1Error:
                return [each for each in understood if each.message_id not in carried]
        return understood

    def settle(self, ctx: Context, handled: Sequence[Handled]) -> None:
        """Take events off the outbox whose messages have been handled, behind the handling: one
        that stays there for a failure is handled once more, which changes nothing."""
        event_ids = [
            each.event_id
            for each in handled
            if each.event_id is not None and each.conversion_id is not None
        ]
        if event_ids:
            ctx.wait_until(self._processed(ctx, event_ids))

    async def sweep(self, ctx: Context) -> int:
        """Send again what was accepted and not handled in time; how many events.

        Raises:
            D1Error, QueueError: when D1 or the queue fails; the rest is due at the next sweep.
        """
        swept = 0
        for _ in range(SWEEPS):
            now_us = self._runtime.wall_us()
            due = await self._events.due(ctx, from_wall_us(now_us), SWEPT_AT_ONCE)
            if due:
                await self._events.postpone(ctx, [_later(each, now_us) for each in due])
                await ctx.queue.send_batch(
                    [_announcing(each.event_id, each.conversion_id) for each in due]
                )
            swept += len(due)
            self.resent += len(due)
            if len(due) < SWEPT_AT_ONCE:
                break
        return swept

    async def _announce(self, ctx: Context) -> None:
        """Queue what follows from the events committed since the last time, those of requests
        that run at once together. A failed send is counted and left to the sweep."""
        outgoing, self._outgoing = self._outgoing, []
        for messages in in_parts(outgoing, MAX_EVENTS):
            try:
                await ctx.queue.send_batch(messages)
            except QueueError:
                self.sends_failed += len(messages)

    async def _processed(self, ctx: Context, event_ids: Sequence[str]) -> None:
        with suppress(D1Error):  # which stands in the evidence
            await self._events.processed(ctx, event_ids)


def _resend_at(event: Event, wall_us: int) -> str | None:
    """Only an event from which something follows waits for it."""
    return None if event.conversion_id is None else from_wall_us(wall_us)


def _announcing(event_id: str, conversion_id: str | None) -> dict[str, Any]:
    return {"event_id": event_id, "conversion_id": conversion_id}


def _carrying(event: Event, created_at: str) -> dict[str, Any]:
    fields = {**event.model_dump(exclude_none=True), "event_id": event.identity()}
    return {"event": fields, "created_at": created_at}


def _carried(body: Mapping[str, Any]) -> Arrival | None:
    """The event in a message; None when it only announces one.

    Raises:
        InvalidEvent: it has something else in the place of an event.
    """
    if "event" not in body:
        return None
    created_at = body.get("created_at")
    if not isinstance(created_at, str):
        raise InvalidEvent("created_at: missing")
    return Arrival(parse_event(body["event"]), created_at)


def _later(due: Due, now_us: int) -> tuple[str, str]:
    age_us = now_us - to_wall_us(due.created_at)
    wait_us = min(max(PATIENCE_US, age_us), MAX_PATIENCE_US)
    return from_wall_us(now_us + wait_us), due.event_id
