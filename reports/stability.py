"""Whether what was asked of the world's parts is less than they can do.

Asked for more work a second than a second has, a queue grows for as long as the run lasts. Then a
latency says how long the run was, not how fast the system is, and is reported as no number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from reports.intervals import student_half_width
from reports.record import RunRecord

UNSTABLE = "unstable"
ADVICE = "ask less of it: fewer requests, cheaper statements, longer lives in the caches"

PARTS = {
    "d1": "the thread of D1",
    "isolate": "the thread of the busiest isolate",
    "consumers": "the consumers of the queue",
}
"""Parts of the world whose work is counted: the key in the record, and words for it."""


class Load(NamedTuple):
    """What was asked of a part in the window, in seconds of work a second.

    ``interval`` covers the true load with 95 % over the replications; with one there is none.
    """

    part: str
    value: float
    interval: tuple[float, float] | None

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


def loads(record: RunRecord) -> list[Load]:
    """The load of each part of which the record counted it."""
    found = []
    for key, words in PARTS.items():
        asked = f"load.{key}.asked_us", f"load.{key}.window_us"
        shares = [
            unit.counts.get(asked[0], 0) / unit.counts[asked[1]]
            for unit in record.units
            if asked[1] in unit.counts
        ]
        if shares:
            mean = math.fsum(shares) / len(shares)
            half = student_half_width(shares) if len(shares) > 1 else None
            found.append(Load(words, mean, None if half is None else (mean - half, mean + half)))
    return found


def unstable(record: RunRecord) -> str:
    """Which parts are asked for more than they can do, in words; empty if none is."""
    return "; ".join(load.sentence() for load in loads(record) if load.unstable)


def doubts(record: RunRecord) -> list[str]:
    """A note for each part that may be unstable."""
    return [
        f"{load.sentence()}: too near to 1 to tell whether its queue grows; more replications or a"
        " longer window would"
        for load in loads(record)
        if load.doubtful
    ]
