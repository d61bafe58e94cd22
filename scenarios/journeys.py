"""The journeys in D1 and the conversions asked for: 10,000 real marketing paths.

The data names channels and counts; users, IDs and times come from ``data.seed``. Each
conversion is a journey of its own, all touches before the data epoch.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_impl.d1.schema import JOURNEY_COLUMNS
from scenarios.schema import Data
from scenarios.streams import stream

EPOCH_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z: the run's wall clock starts here, and all touches lie before it."""

HOUR_MS = 3_600_000

COLUMNS = JOURNEY_COLUMNS
"""The columns of ``user_journeys`` in the order of :meth:`Population.rows`, without its ``id``."""

Row = tuple[str | int | None, ...]
Ints = NDArray[np.int64]


class Conversion(NamedTuple):
    """One conversion that can be asked for, and the visitor who made it."""

    conversion_id: str
    user_id: str


@dataclass(frozen=True, slots=True, eq=False)
class _Paths:
    """The paths of the file: channels of all paths end to end, and where each path lies."""

    channels: NDArray[np.object_]
    starts: Ints
    lengths: Ints
    conversions: Ints
    nulls: Ints


class Population:
    """The journeys of one ``data`` section; equal settings give equal rows, in equal order."""

    def __init__(self, data: Data) -> None:
        paths = _read_paths(data.max_paths)
        self._converted = _Journeys(paths, paths.conversions, data.seed, "converted")
        self._null = _Journeys(paths, paths.nulls, data.seed, "null") if data.null_paths else None
        ids = _names("c", data.seed, "conversion", self._converted.count)
        pairs = zip(ids, self._converted.users, strict=True)
        self.conversions = [Conversion(*pair) for pair in pairs]

    def rows(self) -> Iterator[Row]:
        """All rows of ``user_journeys``, see :data:`COLUMNS`; may be asked for again.

        Times are text, ``YYYY-MM-DDTHH:MM:SS.mmmZ``. The data knows channels only
        (``utm_source``), so medium, campaign, term and content are NULL; the conversion itself
        is not a touch.
        """
        yield from self._converted.rows([pair.conversion_id for pair in self.conversions])
        if self._null is not None:
            yield from self._null.rows(None)


class _Journeys:
    """``times[i]`` journeys along path ``i``, with their users and draws."""

    def __init__(self, paths: _Paths, times: Ints, seed: int, part: str) -> None:
        self._paths = paths
        self._path = np.repeat(np.arange(len(times)), times)
        self._seed = seed
        self._part = part
        self.count = len(self._path)
        self.users = _names("u", seed, f"user.{part}", self.count)

    def rows(self, conversion_ids: list[str] | None) -> Iterator[Row]:
        lengths = self._paths.lengths[self._path]
        journey = np.repeat(np.arange(self.count), lengths)
        position = np.arange(len(journey)) - (np.cumsum(lengths) - lengths)[journey]
        channels = self._paths.channels[self._paths.starts[self._path][journey] + position]
        times = self._times(lengths, journey)
        for at, source, when, place in zip(
            journey.tolist(), channels.tolist(), times, position.tolist(), strict=True
        ):
            user = self.users[at]
            conversion = None if conversion_ids is None else conversion_ids[at]
            event = f"e{user[1:]}-{place}"
            yield (
                *(user, event, "touch", source, None, None, None, None),
                *(when, place, conversion, when),
            )

    def _times(self, lengths: Ints, journey: Ints) -> list[str]:
        """Touch times: 1 to 48 hours apart, the last one 1 to 720 hours before the epoch."""
        gaps = self._hours("gap", len(journey), 48)
        after_first = np.cumsum(gaps)
        last = after_first[np.cumsum(lengths) - 1]
        tail = self._hours("tail", self.count, 720)
        at_ms = EPOCH_US // 1000 - (last[journey] - after_first) - tail[journey]
        text = np.datetime_as_string(at_ms.astype("datetime64[ms]"), unit="ms")
        return [f"{when}Z" for when in text.tolist()]

    def _hours(self, part: str, count: int, most: int) -> Ints:
        generator = stream(self._seed, f"data.{part}.{self._part}", 0)
        return generator.integers(HOUR_MS, most * HOUR_MS, size=count, dtype=np.int64)


def load_population(data: Data) -> Population:
    """The journeys and conversions that the ``data`` section of a scenario asks for."""
    return Population(data)


def _read_paths(max_paths: int | None) -> _Paths:
    raw = (resources.files("scenarios") / "data" / "journeys.csv.gz").read_bytes()
    lines = gzip.decompress(raw).decode("utf-8").splitlines()
    table = list(csv.DictReader(lines))[:max_paths]
    paths = [row["path"].split(" > ") for row in table]
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    return _Paths(
        channels=np.array([channel for path in paths for channel in path], dtype=np.object_),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        conversions=np.array([int(row["total_conversions"]) for row in table], dtype=np.int64),
        nulls=np.array([int(row["total_null"]) for row in table], dtype=np.int64),
    )


def _names(kind: str, seed: int, part: str, count: int) -> list[str]:
    """``count`` different IDs, ``kind`` and 12 hex digits.

    Each step (odd multiplication, addition, xor with the upper half, all modulo 2^48) can be
    undone, so different numbers give different IDs without a check.
    """
    mask = np.uint64((1 << 48) - 1)
    draws = stream(seed, f"data.{part}", 0).integers(0, 1 << 48, size=3, dtype=np.uint64)
    odd, offset, second = draws | np.array([1, 0, 1], dtype=np.uint64)
    mixed = (np.arange(count, dtype=np.uint64) * odd + offset) & mask
    for _ in range(2):
        mixed ^= mixed >> np.uint64(24)
        mixed = (mixed * second) & mask
    mixed ^= mixed >> np.uint64(24)
    return [f"{kind}-{value:012x}" for value in mixed.tolist()]
