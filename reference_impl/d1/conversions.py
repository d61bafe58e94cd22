"""The journeys of conversions: statements that read their latest touches and no others.

A journey is in the order of time; equal times come by ``position``, none first, then by arrival.
The index of conversions has that order, so D1 reads as many touches as count, and one more where
it is to be known whether there are older ones, however many anybody has posted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reference_impl.attribution.models import MAX_TOUCHES, Journey, Touch
from reference_impl.d1.query_cache import Row
from reference_impl.d1.statements import Command, places

IN_ORDER = "event_timestamp, position, id"
LATEST_FIRST = "event_timestamp DESC, position DESC, id DESC"

JOURNEY = (
    "SELECT utm_source, event_timestamp FROM user_journeys WHERE conversion_id = ? "
    f"ORDER BY {LATEST_FIRST} LIMIT {MAX_TOUCHES + 1}"
)

_JOURNEYS = f"""SELECT column1 AS conversion_id, utm_source, event_timestamp
FROM (VALUES {{}}) JOIN user_journeys AS touches ON touches.id IN (
  SELECT id FROM user_journeys WHERE conversion_id = column1
  ORDER BY {LATEST_FIRST} LIMIT {MAX_TOUCHES + 1})
ORDER BY column1, {IN_ORDER}"""

ATTRIBUTION_DATA = f"""WITH latest AS (
  SELECT utm_source, utm_medium, utm_campaign, event_name, event_timestamp, position, id
  FROM user_journeys WHERE conversion_id = ? ORDER BY {LATEST_FIRST} LIMIT {MAX_TOUCHES}),
touches AS (
  SELECT *, CAST(row_number() OVER (ORDER BY {IN_ORDER}) - 1 AS INTEGER) AS place FROM latest)
SELECT a.conversion_id, a.attribution_model, a.touchpoint_index, a.utm_source,
  a.credit_percentage, a.role, a.created_at,
  t.utm_medium, t.utm_campaign, t.event_name, t.event_timestamp
FROM multi_touch_attribution AS a
LEFT JOIN touches AS t ON t.place = a.touchpoint_index AND +t.utm_source IS a.utm_source
WHERE a.conversion_id = ? AND a.attribution_model = ? ORDER BY a.touchpoint_index"""
"""Touches are numbered in the order they were credited in. The ``+`` keeps SQLite from looking
them up by their source, of which a journey may have one only; without the cast it would look
through all of them for each."""


def journey_of(rows: Sequence[Row]) -> Journey:
    """The journey in what :data:`JOURNEY` was answered with."""
    return Journey.of_latest([_touch(row) for row in reversed(rows)])


def journeys_statement(conversion_ids: Sequence[str]) -> Command:
    """What reads the journeys of several conversions."""
    return _JOURNEYS.format(places(1, len(conversion_ids))), tuple(conversion_ids)


def journeys_of(conversion_ids: Iterable[str], rows: Iterable[Row]) -> dict[str, Journey]:
    """The journeys in what :func:`journeys_statement` was answered with; of no touches for a
    conversion that has none."""
    touches: dict[str, list[Touch]] = {each: [] for each in conversion_ids}
    for row in rows:
        touches[row["conversion_id"]].append(_touch(row))
    return {each: Journey.of_latest(found) for each, found in touches.items()}


def _touch(row: Row) -> Touch:
    return Touch(row["utm_source"], row["event_timestamp"])
