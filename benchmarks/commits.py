"""Events a second into a SQLite file, flushed at every commit: one by one, in fifties, and as the
server takes them, where whoever arrives during a commit shares the next.

Run ``python -m benchmarks.commits [ROUNDS]``.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.rounds import compare, table
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.adapters.stores import open_d1
from reference_impl.d1.schema import JOURNEY_COLUMNS

CALLERS = 64
EVENTS = 6_400
FIFTY = 50
NOW = "2026-01-31T12:00:00.000Z"
INSERT = (
    f"INSERT INTO user_journeys ({', '.join(JOURNEY_COLUMNS)}) "
    f"VALUES ({', '.join('?' for _ in JOURNEY_COLUMNS)}) ON CONFLICT (event_id) DO NOTHING"
)
COMMANDS = [
    Command(INSERT, (f"u{n}", f"e{n}", "touch", "x", *[None] * 4, NOW, 0, f"c{n}", NOW))
    for n in range(EVENTS)
]


def main() -> None:
    """Print events a second."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cases: dict[str, Callable[[], float]] = {
        "one by one": lambda: _direct(1),
        "in fifties": lambda: _direct(FIFTY),
        f"{CALLERS} callers at once, as served": lambda: asyncio.run(_served()),
    }
    print(table(compare(cases, rounds), "events/s"))


def _direct(together: int) -> float:
    calls = [[command] for command in COMMANDS]
    with tempfile.TemporaryDirectory() as folder:
        engine = SqliteEngine.from_file(str(Path(folder, "d1.db")))
        engine.migrate()
        for begin in range(0, EVENTS, together):
            engine.execute_together(calls[begin : begin + together])
        engine.close()
    return EVENTS


async def _served() -> float:
    with tempfile.TemporaryDirectory() as folder:
        d1 = await open_d1(f"sqlite:{Path(folder, 'd1.db')}")
        d1.set_up(frozenset(), [])

        async def call(first: int) -> None:
            for sql, values in COMMANDS[first::CALLERS]:
                await d1.prepare(sql).bind(*values).run()

        await asyncio.gather(*map(call, range(CALLERS)))
        await d1.close()
    return EVENTS


if __name__ == "__main__":
    main()
