"""A user's journey by pages: the statement of each, and the place where it ends."""

from __future__ import annotations

from typing import NamedTuple

from reference_impl.d1.arguments import checked_count, checked_id
from reference_impl.d1.query_cache import Row
from reference_impl.d1.schema import JOURNEY_COLUMNS
from reference_impl.d1.statements import Command

PAGE_SIZE = 500
"""Most touches of one page (assumption: about 100 kB of rows)."""

_OF_USER = f"SELECT id, {', '.join(JOURNEY_COLUMNS)} FROM user_journeys WHERE user_id = ?"
_OF_CONVERSION = " AND conversion_id = ?"
_ORDER = "event_timestamp, coalesce(position, -1), id"
"""NULL sorts before every position, as it does in the journey of a conversion."""
_AFTER = f" AND ({_ORDER}) > (?, ?, ?)"
_PAGE = f" ORDER BY {_ORDER} LIMIT ?"


class Place(NamedTuple):
    """Where a page ended: time, position (-1 for none) and row ID of its last touch."""

    event_timestamp: str
    position: int
    id: int


class JourneyPage(NamedTuple):
    """Touches, oldest first, and where to go on; ``after`` is None on the last page."""

    rows: list[Row]
    after: Place | None


def page_statement(
    user_id: str, conversion_id: str | None, after: Place | None, size: int
) -> Command:
    """What reads a page, and one row more to know whether there is a next.

    Raises:
        BadArgument: for an ID that no event can have, or a size that is not 1 to 500.
    """
    sql, values = _OF_USER, [checked_id("user_id", user_id)]
    if conversion_id is not None:
        sql += _OF_CONVERSION
        values.append(checked_id("conversion_id", conversion_id))
    if after is None:
        place: tuple[str | int, ...] = ()
    else:
        sql, place = sql + _AFTER, tuple(Place(*after))
    return sql + _PAGE, (*values, *place, checked_count("size", size, PAGE_SIZE) + 1)


def page_of(rows: list[Row], size: int) -> JourneyPage:
    """The page in what :func:`page_statement` was answered with."""
    if len(rows) <= size:
        return JourneyPage(rows, None)
    last = rows[size - 1]
    position = -1 if last["position"] is None else last["position"]
    return JourneyPage(rows[:size], Place(last["event_timestamp"], position, last["id"]))
