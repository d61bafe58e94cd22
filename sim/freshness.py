"""How old answers are: which committed state of a conversion's journey each answer tells.

An answer lists every touch of its journey, so their number says which state it was made from. An
answer is stale when a later state was committed before it was asked for; its age is the time from
the first such commit to the question. An answer that leaves touches out does not say which state
it tells: its age is not known, unless nothing was committed before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache

from reference_impl.adapters.sqlite import Command, SqliteEngine

_TOUCHES = Command("SELECT count(*) FROM user_journeys WHERE conversion_id = ?", ())
_INSERT = re.compile(r"\s*INSERT\s+(?:OR\s+\w+\s+)?INTO\s+user_journeys\s*\(([^)]*)\)", re.I)

OnStale = Callable[[int, int], None]
"""Told when a stale answer was asked for, and its age, in microseconds."""

OnUnknown = Callable[[int], None]
"""Told when an answer of unknown age was asked for, in microseconds."""


class Freshness:
    """Remembers commits that changed a journey, and compares answers with them."""

    def __init__(self, engine: SqliteEngine, on_stale: OnStale, on_unknown: OnUnknown) -> None:
        self._engine = engine
        self._on_stale = on_stale
        self._on_unknown = on_unknown
        self._commits: dict[str, list[tuple[int, int]]] = {}

    def committed(self, command: Command, at_us: int) -> None:
        """A statement that the database has just executed holds from ``at_us`` on."""
        place = _conversion_column(command.sql)
        if place is None:
            return
        column, width = place
        for conversion_id in dict.fromkeys(command.values[column::width]):
            if isinstance(conversion_id, str):
                (found,) = self._engine.execute([_TOUCHES._replace(values=(conversion_id,))])
                state = (found.rows[0][0], at_us)
                self._commits.setdefault(conversion_id, []).append(state)

    def answered(self, body: str, asked_us: int, conversion_id: str | None) -> None:
        """An answer to who is credited for a conversion, and when its invocation began.

        Who does not know which conversion it is about leaves it to be read from the answer.
        """
        if not self._commits or (conversion_id is not None and conversion_id not in self._commits):
            return
        answer = json.loads(body)
        commits = self._commits.get(answer["conversion_id"], [])
        if answer.get("truncated"):
            if any(at_us <= asked_us for _, at_us in commits):
                self._on_unknown(asked_us)
            return
        told, since_us = len(answer["attribution"]), None
        for touches, at_us in reversed(commits):
            if touches <= told:
                break
            if at_us <= asked_us:
                since_us = at_us if since_us is None else min(since_us, at_us)
        if since_us is not None:
            self._on_stale(asked_us, asked_us - since_us)


@lru_cache(maxsize=256)
def _conversion_column(sql: str) -> tuple[int, int] | None:
    """Where an insertion into the journeys has its conversion, and how many values a row has."""
    match = _INSERT.match(sql)
    if match is None:
        return None
    columns = [column.strip() for column in match.group(1).split(",")]
    return (columns.index("conversion_id"), len(columns)) if "conversion_id" in columns else None
