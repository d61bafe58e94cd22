"""The part of the plan that is sent: all of it, but for a climb at the start and after a halt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadtest._dispatch import Arrival
from loadtest._watch import Watch

_GOLDEN = 2_654_435_769
_SCALE = 1 << 32


def schedule(planned: Iterable[Arrival], climb_us: int, watch: Watch) -> Iterator[Arrival]:
    """The arrivals to send: as the rate climbs to full over ``climb_us``, until ``watch`` halts."""
    for arrival in planned:
        if watch.halt is not None:
            return
        if arrival.intended_us >= climb_us or climbs(arrival, climb_us):
            yield arrival


def climbs(arrival: Arrival, climb_us: int) -> bool:
    """Whether an arrival of the climb is sent: a share of them that grows evenly from 0 to 1.

    Request numbers times the golden ratio, modulo 1, fill the unit interval evenly (Weyl's
    sequence; Knuth, The Art of Computer Programming, 6.4), so every short stretch has its share.
    """
    return arrival.number * _GOLDEN % _SCALE * climb_us < arrival.intended_us * _SCALE
