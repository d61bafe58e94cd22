"""Touches in the database, by the stack's own statement."""

from __future__ import annotations

from typing import Any

from reference_impl.events import parse_event
from reference_impl.queries import QueryOptimizer
from tests.reference_impl.fakes import Edge

NOON = "2026-01-31T12:00:00.000Z"


async def touch(edge: Edge, queries: QueryOptimizer, source: str | None, **fields: Any) -> bool:
    """One touch of user u1 and conversion c1 at noon, unless told otherwise; whether it is new."""
    body = {
        "user_id": "u1",
        "event_name": "touch",
        "utm_source": source,
        "event_timestamp": NOON,
        "conversion_id": "c1",
        **fields,
    }
    (inserted,) = await queries.insert_events(edge.context(), [parse_event(body)])
    return inserted


async def walk(
    edge: Edge, queries: QueryOptimizer, conversion_id: str | None, *sources: str | None
) -> None:
    """The journey of a conversion, a touch a second, by a user of its own."""
    for second, source in enumerate(sources):
        await touch(
            edge,
            queries,
            source,
            user_id=f"u-{conversion_id}",
            event_id=f"{conversion_id}-{second}",
            event_timestamp=second * 1000,
            conversion_id=conversion_id,
        )
