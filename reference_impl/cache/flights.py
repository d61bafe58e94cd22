"""The loads of one isolate that are under way, and which of them came too late to be kept."""

from __future__ import annotations

from reference_impl.ports import Latch


class Flight:
    """One load of a key from KV or the source, begun at ``began_us``.

    ``void`` once its key was written or invalidated meanwhile: what it brings may be older than
    that, so it answers those who asked and is kept nowhere. ``latch`` is for those who join it;
    ``None`` when nobody may.
    """

    __slots__ = ("began_us", "latch", "void")

    def __init__(self, began_us: int, latch: Latch | None) -> None:
        self.began_us = began_us
        self.latch = latch
        self.void = False


class Flights(dict[str, list[Flight]]):
    """By key. A flight leaves at its end or when it becomes void; a void one is not joined.

    A dict, so that to ask whether anything is under way for a key costs next to nothing.
    """

    def begin(self, key: str, now_us: int, latch: Latch | None) -> Flight:
        """A new load; one with a ``latch`` can be joined until it ends."""
        flight = Flight(now_us, latch)
        if key in self:
            self[key].append(flight)
        else:
            self[key] = [flight]
        return flight

    def end(self, key: str, flight: Flight) -> None:
        """The load is over, one way or another."""
        if flight.void:
            return
        flights = self[key]
        if len(flights) == 1:
            del self[key]
        else:
            flights.remove(flight)

    def joinable(self, key: str, after_us: int) -> Latch | None:
        """The latch of a load of ``key`` that began after ``after_us``."""
        for flight in self.get(key, ()):
            if flight.latch is not None and flight.began_us > after_us:
                return flight.latch
        return None

    def void(self, key: str) -> None:
        """``key`` has changed: no load of it that is under way may be kept or joined."""
        for flight in self.pop(key, ()):
            flight.void = True

    def void_prefix(self, prefix: str) -> None:
        """The same for every key that starts with ``prefix``."""
        for key in [key for key in self if key.startswith(prefix)]:
            self.void(key)
