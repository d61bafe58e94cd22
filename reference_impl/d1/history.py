"""Stored journeys as paths of channels: what ``data_driven`` learns from.

A path is the sequence of a journey's sources, oldest touch first. It is *converting* once for
every conversion (all touches with its ``conversion_id``), and *null* once for every user none of
whose touches belongs to a conversion. Touches without a conversion of a user who has converted
are in no path: where their journey ends is not known. Of either kind the latest touches count, as
many as are credited of a conversion: D1 reads no others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from reference_impl.attribution.markov import Channel, RemovalEffects, removal_effects
from reference_impl.attribution.models import MAX_TOUCHES
from reference_impl.d1.conversions import IN_ORDER, LATEST_FIRST
from reference_impl.ports import SqlValue

Path = tuple[Channel, ...]
Ask = Callable[[str, tuple[SqlValue, ...]], Awaitable[list[dict[str, Any]]]]

MAX_PAGE = 2000
"""Journeys of one statement."""

MAX_JOURNEYS = 1_000_000
"""Journeys of either kind that one call reads; at 2,000 a page within D1's 1,000 queries of an
invocation (https://developers.cloudflare.com/d1/platform/limits/)."""

MAX_CHANNELS = 1000
"""Channels whose effects are learnt (assumption). Names are free text that anybody may send, and to
solve the chain takes memory by the square and time by the cube of their number."""

_PAGE = """WITH RECURSIVE page (name) AS (
  SELECT min({0}) FROM user_journeys WHERE {0} > ?
  UNION ALL
  SELECT (SELECT min({0}) FROM user_journeys WHERE {0} > name) FROM page WHERE name IS NOT NULL
  LIMIT ?)
SELECT name, (SELECT {1} FROM (
  SELECT utm_source, conversion_id, event_timestamp, position, id FROM user_journeys
  WHERE {0} = name ORDER BY {2} LIMIT {3})) AS path
FROM page WHERE name IS NOT NULL"""
"""The names of a page are found one by one in the index, past all other touches of each, so they
come in order."""

_PATH = f"json_group_array(utm_source ORDER BY {IN_ORDER})"

CONVERTING = _PAGE.format("conversion_id", _PATH, LATEST_FIRST, MAX_TOUCHES)

NULL = _PAGE.format(
    "user_id",
    f"CASE WHEN max(conversion_id) IS NULL THEN {_PATH} END",
    "event_timestamp DESC, id",
    MAX_TOUCHES,
)
"""A page of users, those who converted without a path, so that a page costs no more than it is.
The index of users has no positions: where the bound falls among touches of one instant, those that
came first count."""


class Counts(NamedTuple):
    """How many journeys went along a path and converted, and how many did not."""

    conversions: int = 0
    nulls: int = 0


@dataclass(frozen=True, slots=True)
class ChannelHistory:
    """Every path with its counts. ``complete`` is false when the reading stopped at its bound;
    then the shares of converting and null paths may not be those of the whole."""

    paths: Mapping[Path, Counts]
    complete: bool

    def effects(self, max_channels: int = MAX_CHANNELS) -> RemovalEffects:
        """The removal effects of the channels that most journeys touched, ``max_channels`` at most.

        With more in the history it is taken as if nobody had seen the others: a path without them
        goes on from one channel to the next, and one of nothing else is in no count.
        """
        journeys: Counter[Channel] = Counter()
        for path, counts in self.paths.items():
            journeys.update(dict.fromkeys(path, sum(counts)))
        seen = {channel for channel, _ in journeys.most_common(max_channels)}
        walked = (
            ([channel for channel in path if channel in seen], counts)
            for path, counts in self.paths.items()
        )
        return removal_effects((path, *counts) for path, counts in walked if path)


async def read_history(ask: Ask, *, page_size: int, max_journeys: int) -> ChannelHistory:
    """Read all paths by pages, at most ``max_journeys`` of either kind.

    ``ask`` answers a statement with its rows.
    """
    conversions, some = await _count_paths(ask, CONVERTING, page_size, max_journeys)
    nulls, more = await _count_paths(ask, NULL, page_size, max_journeys)
    counts = {
        path: Counts(conversions.get(path, 0), nulls.get(path, 0))
        for path in dict.fromkeys([*conversions, *nulls])
    }
    return ChannelHistory(counts, some and more)


async def _count_paths(
    ask: Ask, statement: str, page_size: int, most: int
) -> tuple[dict[Path, int], bool]:
    """The paths of one kind with their numbers of journeys, and whether these are all."""
    counts: dict[Path, int] = {}
    after = ""
    for start in range(0, most, page_size):
        size = min(page_size, most - start)
        rows = await ask(statement, (after, size))
        for row in rows:
            if row["path"] is not None:
                path = tuple(json.loads(row["path"]))
                counts[path] = counts.get(path, 0) + 1
        if len(rows) < size:
            return counts, True
        after = rows[-1]["name"]
    return counts, False
