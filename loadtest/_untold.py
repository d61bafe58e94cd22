"""Evidence that no answer carried, where the server's statistics can stand in for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadtest._server import UNTOLD
from reports.record import Unit

CACHE = "cache"


def untold(units: Sequence[Unit]) -> set[str]:
    """The series that no answer told, and ``cache`` if no look-up said which layer answered."""
    told = {name for unit in units for name in unit.series}
    unknown, lookups = (
        sum(unit.counts.get(f"cache.{name}", 0) for unit in units) for name in ("unknown", "total")
    )
    return {series for series in UNTOLD if series not in told} | (
        {CACHE} if unknown == lookups else set()
    )


def without_lookups(unit: Unit) -> Unit:
    """The same block without its look-ups, which are counted from elsewhere."""
    counts = {name: n for name, n in unit.counts.items() if not name.startswith("cache.")}
    return replace(unit, counts=counts)


def note(stood_in: set[str]) -> str:
    """What a reader must know about numbers from the server's statistics."""
    names = {CACHE: "look-ups", "d1.request": "D1 times", "cpu": "CPU times"}
    listed = ", ".join(names[name] for name in sorted(stood_in))
    return (
        f"{listed}: no answer told them, so they are from the server's statistics, about all that "
        "it was asked within the window"
    )
