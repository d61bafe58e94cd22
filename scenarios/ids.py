"""The IDs of a deployment that has its own data, read from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from scenarios.journeys import Conversion
from scenarios.loader import ScenarioError
from scenarios.target import Population

MAX_IDS = 5_000_000
MAX_ID_CHARS = 500


def read_ids(population: Population, folder: Path) -> list[Conversion]:
    """The conversions in ``population.csv``, looked for in ``folder`` unless its path is absolute.

    A row without a user, or a file without that column, takes the conversion's ID for the user's.

    Raises:
        ScenarioError: naming file, line and what was expected, when the file cannot be read, a
            column is missing, or an ID is empty, doubled, longer than 500 characters or not plain
            text; also for no ID at all and more than 5,000,000.
    """
    path = folder / (population.csv or "")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.reader(file), population, path)
    except OSError as error:
        raise ScenarioError([f"population.csv: {path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ScenarioError([f"population.csv: {path} is not UTF-8 text"]) from None
    except csv.Error as error:
        raise ScenarioError([f"population.csv: {path} is not CSV: {error}"]) from None


def _read(rows: Any, population: Population, path: Path) -> list[Conversion]:
    def refuse(text: str) -> ScenarioError:
        return ScenarioError([f"{path}:{max(rows.line_num, 1)}: {text}"])

    names: list[str] = next(rows, [])
    if population.conversion_id not in names:
        there = ", ".join(names) or "none"
        raise refuse(
            f"no column {population.conversion_id!r}, there are: {there}; "
            "name the right one in population.conversion_id"
        )
    column = names.index(population.conversion_id)
    user = names.index(population.user_id) if population.user_id in names else column
    found: dict[str, str] = {}
    for row in rows:
        if not row:
            continue
        if len(row) != len(names):
            raise refuse(f"expected {len(names)} values, got {len(row)}")
        id_ = row[column]
        if not 0 < len(id_) <= MAX_ID_CHARS or not id_.isprintable():
            raise refuse(f"expected an ID of 1 to {MAX_ID_CHARS} printable characters")
        if id_ in found:
            raise refuse(f"{id_!r} is there already: each ID once")
        if len(found) == MAX_IDS:
            raise refuse(f"more than {MAX_IDS:,} IDs")
        found[id_] = row[user] if row[user].isprintable() and row[user] else id_
    if not found:
        raise refuse("no IDs beneath the names of the columns")
    return [Conversion(*pair) for pair in found.items()]
