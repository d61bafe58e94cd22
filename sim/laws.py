"""Laws that hold in every run whatever the scenario: a run that breaks one is not valid.

- *Conservation.* Every request of the plan is counted once, everyone who came has left, and every
  message that the queue took was stored, given up or is still there.
- *Little's law*, L = lambda W, over a whole run and therefore exact: the number of invocations in
  the nodes, integrated over the clock, is the sum of their stays as the plan and the answers have
  them (Little, Operations Research 9, 1961; Stidham 1974 for the form without limits).
- *Utilisation.* No thread has done more work than time has passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reports.record import Unit


class Flow:
    """Who is in a part of the world, counted and integrated over time as they come and go."""

    __slots__ = ("_area_us", "_last_us", "entered", "left", "stays_us")

    def __init__(self) -> None:
        self.entered = self.left = self.stays_us = 0
        self._area_us = self._last_us = 0

    def enter(self, now_us: int) -> None:
        """One comes."""
        self._area_us += (self.entered - self.left) * (now_us - self._last_us)
        self._last_us = now_us
        self.entered += 1

    def leave(self, now_us: int, stay_us: int) -> None:
        """One leaves who has stayed ``stay_us`` by another account than this clock."""
        self._area_us += (self.entered - self.left) * (now_us - self._last_us)
        self._last_us = now_us
        self.left += 1
        self.stays_us += stay_us

    def broken(self) -> Iterator[str]:
        """In words, what does not hold once all should have left."""
        if self.entered != self.left:
            yield f"{self.entered:,} invocations began and {self.left:,} ended"
        elif self._area_us != self.stays_us:
            yield (
                f"Little's law: invocations in the nodes add up to {self._area_us:,} us of time,"
                f" their stays to {self.stays_us:,} us"
            )


def requests_lost(planned: Mapping[str, int], unit: Unit) -> Iterator[str]:
    """Requests of the window that were not counted, or counted twice."""
    for route, count in planned.items():
        counted = unit.counts.get(f"requests.{route}", 0)
        if counted != count:
            yield f"{count:,} requests of {route} were planned and {counted:,} counted"


def messages_lost(accepted: int, stored: int, counts: Mapping[str, int]) -> Iterator[str]:
    """Messages of the queue that are nowhere, or at two places."""
    dead, waiting = counts["queue.dead"], counts["queue.undelivered"]
    if accepted != stored + dead + waiting:
        yield (
            f"the queue took {accepted:,} messages; {stored:,} were stored, {dead:,} given up and"
            f" {waiting:,} are in it"
        )
