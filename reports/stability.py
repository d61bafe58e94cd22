"""Whether what was asked of the world's parts is less than they can do, and which latencies wait.

Asked for more work a second than a second has, a part's queue grows for as long as the run lasts. A
latency that waits there says how long the run was, not how fast the system is, and is reported as
no number. The others keep theirs: a part behind an overloaded one works on what that lets through,
and can be as steady as if no more had been asked (Goodman and Massey, "The non-ergodic Jackson
network", J. Applied Probability 21, 1984). The run is on alert either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from reports.intervals import student_half_width
from reports.record import RunRecord

UNSTABLE = "unstable"


class Part(NamedTuple):
    """A part of the world whose work is counted: what it is called, and how to ask less of it."""

    words: str
    advice: str


PARTS = {
    "d1": Part(
        "the thread of D1", "fewer requests, cheaper statements, longer lives in the caches"
    ),
    "isolate": Part(
        "the thread of the busiest isolate", "more isolates (edge.isolates_per_node), less CPU time"
    ),
    "consumer_isolate": Part(
        "the thread of the consumers' isolate", "larger batches (queue.batch_size), less CPU time"
    ),
    "consumers": Part(
        "each consumer of the queue",
        "more consumers (queue.max_concurrency), larger batches (queue.batch_size)",
    ),
}
"""The parts by their key in the record."""


class Latency(NamedTuple):
    """A latency in words, the series that hold it, and the parts that its samples may wait for.

    ``by_queue`` are those parts where the queue accepts events (``ingest.accept``), if others.
    """

    words: str
    series: tuple[str, ...]
    parts: tuple[str, ...]
    by_queue: tuple[str, ...] | None = None


def _of(route: str) -> tuple[str, ...]:
    return tuple(f"latency.{route}.{start}" for start in ("intended", "actual", "corrected"))


LATENCIES = (
    Latency("tracking", _of("tracking"), ("isolate", "d1"), by_queue=("isolate",)),
    # Look-ups that a cache answers do not meet D1; which share does is not known beforehand.
    Latency("attribution", _of("attribution"), ("isolate", "d1")),
    Latency("D1 query", ("d1.request", "d1.request.wait"), ("d1",)),
    Latency("D1 query without its wait", ("d1.request.sql", "d1.request.round_trip"), ()),
    Latency("D1 query of the queue's consumer", ("d1.consumer",), ("d1",)),
    # From the handler's start: the wait for a consumer is over then.
    Latency("queue processing", ("queue.handling",), ("consumer_isolate", "d1")),
    Latency(
        "accepted to stored",
        ("queue.accepted_to_stored",),
        ("consumers", "consumer_isolate", "d1"),
    ),
    # The answer is refreshed by a consumer, and read from a cache only when its isolate is free.
    Latency("age of stale answers", ("staleness.age",), tuple(PARTS)),
    Latency("Worker CPU", ("cpu",), ()),
)
"""What waits for what, as ``sim/`` routes the work: a request's CPU time, then a cache or D1, then
its answer; behind that its message, a consumer, the consumers' isolate, D1."""


class Load(NamedTuple):
    """What was asked of a part in the window, in seconds of work a second.

    ``interval`` covers the true load with 95 % over the replications; with one there is none.
    """

    key: str
    value: float
    interval: tuple[float, float] | None

    @property
    def part(self) -> str:
        """The part in words."""
        return PARTS[self.key].words

    @property
    def unstable(self) -> bool:
        """More than it can do, and not by chance."""
        return (self.interval[0] if self.interval else self.value) >= 1

    @property
    def doubtful(self) -> bool:
        """Too near to what it can do to say whether the queue grows."""
        return not self.unstable and self.interval is not None and self.interval[1] >= 1

    def sentence(self) -> str:
        """What is asked of the part, as the end of a message."""
        asked = f"{self.part} is asked for {self.value:.3g} s of work a second"
        if self.interval is None:
            return asked
        return f"{asked} [{self.interval[0]:.3g}, {self.interval[1]:.3g}]"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ends = self.interval and [round(end, 6) for end in self.interval]
        return {"part": self.key, "load": round(self.value, 6), "interval": ends}


def loads(record: RunRecord) -> list[Load]:
    """The load of each part of which the record counted it."""
    found = []
    for key in PARTS:
        asked = f"load.{key}.asked_us", f"load.{key}.window_us"
        shares = [
            unit.counts.get(asked[0], 0) / unit.counts[asked[1]]
            for unit in record.units
            if asked[1] in unit.counts
        ]
        if shares:
            mean = math.fsum(shares) / len(shares)
            half = student_half_width(shares) if len(shares) > 1 else None
            found.append(Load(key, mean, None if half is None else (mean - half, mean + half)))
    return found


def overloaded(record: RunRecord) -> list[Load]:
    """The parts that are asked for more than they can do."""
    return [load for load in loads(record) if load.unstable]


def unstable(record: RunRecord, series: str) -> list[Load]:
    """The overloaded parts that a series of the record waits for; it has a number if there is none.

    One that is not in :data:`LATENCIES` is taken to wait for all.
    """
    found = loads(record)
    known = (latency for latency in LATENCIES if series in latency.series)
    parts = _parts(record, next(known, Latency(series, (), tuple(PARTS))), found)
    return [load for load in found if load.unstable and load.key in parts]


def in_words(growing: Sequence[Load]) -> str:
    """What is asked of each of these parts."""
    return "; ".join(load.sentence() for load in growing)


def advice(growing: Sequence[Load]) -> str:
    """How to ask less of these parts."""
    return f"ask less of it: {'; '.join(PARTS[load.key].advice for load in growing)}"


def notes(record: RunRecord) -> list[str]:
    """A note for each part that is overloaded or may be, with the latencies that wait for it."""
    found = loads(record)
    waits = {latency.words: _parts(record, latency, found) for latency in LATENCIES}
    growing = {load.key for load in found if load.unstable}
    told = []
    for load in found:
        waiting = [words for words, parts in waits.items() if load.key in parts]
        steady = [words for words in waiting if not waits[words] & growing]
        if load.unstable:
            told.append(
                f"{load.sentence()}: its queue grows for as long as the run lasts, so what waits"
                f" there has no number ({', '.join(waiting)}); what comes behind it is asked only"
                " for what it lets through"
            )
        elif load.doubtful:
            doubted = f", and with it {', '.join(steady)}" if steady else ""
            told.append(
                f"{load.sentence()}: too near to 1 to tell whether its queue grows{doubted}; more"
                " replications or a longer window would"
            )
    return told


def _parts(record: RunRecord, latency: Latency, found: Sequence[Load]) -> set[str]:
    """What a latency waits for in this record."""
    ingest = record.scenario_settings.get("ingest")
    by_queue = isinstance(ingest, dict) and ingest.get("accept") == "queue"
    parts = set(latency.by_queue if by_queue and latency.by_queue else latency.parts)
    if "consumer_isolate" in parts and all(load.key != "consumer_isolate" for load in found):
        parts.add("isolate")  # an older record: "isolate" is the busiest of all, whosever it is
    return parts
