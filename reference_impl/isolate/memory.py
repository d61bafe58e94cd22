"""What an isolate would hold, as accounted: on the platform only "memory exceeded" can be seen."""

from __future__ import annotations

from dataclasses import dataclass

from reference_impl.cache.l1 import L1Cache


@dataclass(frozen=True, slots=True)
class MemorySizes:
    """What an isolate holds without cached data, and for each request in flight; in bytes."""

    base: int
    request: int


class IsolateMemory:
    """The account of one isolate: a base, what L1 holds, a share for each invocation in flight."""

    def __init__(self, l1: L1Cache, sizes: MemorySizes) -> None:
        self._l1 = l1
        self._sizes = sizes
        self.in_flight = 0
        self.max_bytes = sizes.base

    def enter(self) -> None:
        """One more invocation in flight."""
        self.in_flight += 1
        held = self._l1.size_bytes + self.in_flight * self._sizes.request
        self.max_bytes = max(self.max_bytes, self._sizes.base + held)

    def leave(self) -> None:
        """An invocation has ended."""
        self.in_flight -= 1
