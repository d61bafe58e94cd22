"""Touches in the database, by the stack's own statement, or as a client posts them."""

from __future__ import annotations

from typing import Any

from reference_impl.d1.event_store import Arrival
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.events import parse_event
from reference_impl.isolate.worker import Worker
from reference_impl.ports import Message
from reference_impl.times import from_wall_us
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
    arrival = Arrival(parse_event(body), NOON)
    (inserted,) = await queries.events.insert(edge.context(), [arrival])
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


def flood(
    edge: Edge, conversion_id: str | None, count: int, source: str = "s", *, apart_ms: int = 1
) -> None:
    """So many touches at once behind the stack's back, in the order of their numbers."""
    name = conversion_id or "nobody"
    edge.d1.engine.insert_journeys(
        (
            *(f"u-{name}", f"{name}-{number}", "touch", f"{source}{number}", *[None] * 4),
            *(from_wall_us(number * apart_ms * 1000), None, conversion_id, NOON),
        )
        for number in range(count)
    )


def touch_event(number: int, conversion_id: str | None = "c1") -> dict[str, Any]:
    """One touch as a client posts it."""
    return {
        "user_id": "u1",
        "event_id": f"e{number}",
        "event_name": "touch",
        "utm_source": f"s{number}",
        "event_timestamp": number,
        "conversion_id": conversion_id,
    }


async def touch_message(
    edge: Edge, worker: Worker, number: int, conversion_id: str = "c1"
) -> Message:
    """One touch committed in D1, and the message that follows from it."""
    posted = touch_event(number, conversion_id)
    assert (await worker.track(edge.context(), posted)).status == 202
    follows = {"event_id": f"e{number}", "conversion_id": conversion_id}
    return Message(f"m{number}", follows, edge.runtime.now_us())
