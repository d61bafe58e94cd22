"""Events in ``user_journeys``, whose rows are the outbox of what follows from them.

``resend_at`` says when the sweep is to send an event's message again. It is set with the row, in
the same commit, where something follows from the event, and taken off once that has been done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reference_impl.d1.bulk import inserts
from reference_impl.d1.calls import D1Calls
from reference_impl.d1.schema import JOURNEY_COLUMNS
from reference_impl.d1.statements import MAX_BOUND_VALUES, in_parts, marks
from reference_impl.events import Event
from reference_impl.messages import Context

COLUMNS = (*JOURNEY_COLUMNS, "resend_at")
NEW_EVENTS = " RETURNING event_id"
"""At the end of an insertion: the events that were not there."""

_DUE = (
    "SELECT event_id, conversion_id, created_at FROM user_journeys "
    "WHERE resend_at <= ? ORDER BY resend_at LIMIT ?"
)
_POSTPONE = "UPDATE user_journeys SET resend_at = ? WHERE event_id = ? AND resend_at IS NOT NULL"
_PROCESSED = "UPDATE user_journeys SET resend_at = NULL WHERE event_id IN ({})"


class Arrival(NamedTuple):
    """An event to be stored: when it was accepted, and when to send its message again, if ever."""

    event: Event
    created_at: str
    resend_at: str | None = None


class Due(NamedTuple):
    """An event whose message has not been handled in time."""

    event_id: str
    conversion_id: str
    created_at: str


class EventStore:
    """One isolate's statements on events. All raise :class:`D1Error` when D1 fails."""

    def __init__(self, calls: D1Calls) -> None:
        self._d1 = calls

    async def insert(self, ctx: Context, arrivals: Sequence[Arrival]) -> list[bool]:
        """Commit events, all or none, in one round trip; for each whether it is new.

        One whose ``event_id`` is there already, or came before it in ``arrivals``, is not.

        Raises:
            D1Error: when they are not known to be stored.
        """
        rows = [(*event.row(created_at), resend_at) for event, created_at, resend_at in arrivals]
        commands = inserts("user_journeys", COLUMNS, rows, NEW_EVENTS)
        try:
            results = await self._d1.run(ctx, "insert_event", commands)
        finally:
            self._d1.cache.written({"user_journeys": _row_keys(arrivals)})
        inserted = {row["event_id"] for result in results for row in result.results}
        return [_taken(inserted, arrival.event.identity()) for arrival in arrivals]

    async def due(self, ctx: Context, now: str, limit: int) -> list[Due]:
        """Events whose message is to be sent again by ``now``, those that wait longest first."""
        rows = await self._d1.rows(ctx, "due_events", _DUE, (now, limit))
        return [Due(row["event_id"], row["conversion_id"], row["created_at"]) for row in rows]

    async def postpone(self, ctx: Context, until: Iterable[tuple[str, str]]) -> None:
        """Have events (the second of a pair) wait until a time (the first)."""
        await self._d1.run(ctx, "postpone_events", [(_POSTPONE, pair) for pair in until])

    async def processed(self, ctx: Context, event_ids: Sequence[str]) -> None:
        """Nothing follows from these events any more."""
        parts = in_parts(event_ids, MAX_BOUND_VALUES)
        commands = [(_PROCESSED.format(marks(len(part))), tuple(part)) for part in parts]
        await self._d1.run(ctx, "processed_events", commands)


def _row_keys(arrivals: Sequence[Arrival]) -> frozenset[str]:
    keys: list[str] = []
    for arrival in arrivals:
        event = arrival.event
        keys += f"user_id={event.user_id}", f"conversion_id={event.conversion_id}"
    return frozenset(keys)


def _taken(identities: set[str], identity: str) -> bool:
    """Whether ``identity`` is among them; it is taken out, so that it is new once."""
    if identity not in identities:
        return False
    identities.remove(identity)
    return True
