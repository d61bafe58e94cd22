"""What one generator has done so far, in a form that travels: numbers, histograms, blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, Self

from reference_impl.profiling.hdr import Histogram


class Halt(NamedTuple):
    """Why a generator ended its part itself, and the word of the verdict that this earns."""

    word: Literal["alert", "not valid", "wrong input"]
    reason: str


@dataclass(slots=True)
class Tally:
    """The counts of one generator; sums of them describe the whole run.

    ``planned`` arrivals of its part were due, ``offered`` of them left, ``ended`` have an outcome,
    ``answered`` got an answer, ``failed`` count as errors. ``succeeded`` is the client's own count
    of answers without failure to requests of the window; ``logged`` is how many the generator's
    interval log holds, read back from the file. ``out_of_sockets`` found no socket on this machine.
    ``lookups`` were watched for unknown IDs, ``unknown`` of them asked for one. ``cpu_us`` is the
    processor time of the generator's process over ``wall_us``; ``halt`` is why it ended its part
    itself.
    """

    planned: int = 0
    offered: int = 0
    ended: int = 0
    answered: int = 0
    failed: int = 0
    succeeded: int = 0
    logged: int = 0
    out_of_sockets: int = 0
    lookups: int = 0
    unknown: int = 0
    cpu_us: int = 0
    wall_us: int = 0
    lag: Histogram = field(default_factory=Histogram)
    halt: Halt | None = None

    @property
    def cpu_share(self) -> float:
        """The share of one core that the generator took while it sent."""
        return self.cpu_us / self.wall_us if self.wall_us else 0.0

    def add(self, other: Tally) -> None:
        """Count what ``other`` has counted."""
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lag.add(other.lag)
        self.halt = self.halt or other.halt

    def to_message(self) -> dict[str, Any]:
        """Plain values; :meth:`from_message` reads them back."""
        counters = {name: getattr(self, name) for name in COUNTERS}
        return {**counters, "lag": self.lag.to_json(), "halt": self.halt}

    @classmethod
    def from_message(cls, data: Mapping[str, Any]) -> Self:
        """Raises ``ValueError`` for what :meth:`to_message` did not make."""
        counters = {name: data.get(name) for name in COUNTERS}
        if not all(type(value) is int and value >= 0 for value in counters.values()):
            raise ValueError(f"a tally with something else than counts: {counters}")
        lag, halt = Histogram.from_json(data["lag"]), data["halt"]
        return cls(lag=lag, halt=Halt(*halt) if halt else None, **counters)  # type: ignore[arg-type]


COUNTERS = tuple(part.name for part in fields(Tally) if part.type == "int")
