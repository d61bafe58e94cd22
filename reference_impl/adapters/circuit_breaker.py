"""A circuit breaker: a service that has failed several times in a row is left alone for a while.

Its states, by the names of M. Nygard, *Release It!* (Pragmatic Bookshelf), and of
https://learn.microsoft.com/en-us/azure/architecture/patterns/circuit-breaker:

- *closed*: operations are let through.
- *open*: they fail at once, until the cool-down is over.
- *half-open*: one operation, the probe, is on its way; the others fail at once. If it succeeds the
  circuit closes, if it fails the circuit opens for another cool-down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

FAILURES = 5
"""In a row, until a closed circuit opens (assumption)."""

COOL_DOWN_US = 5_000_000
"""How long an open circuit lets nothing through (assumption)."""


class CircuitState(StrEnum):
    """What becomes of the next operation."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitOpen(Exception):
    """The operation was not let through; ``state`` says why."""

    def __init__(self, state: CircuitState) -> None:
        super().__init__(state)
        self.state = state


class CircuitBreaker:
    """One circuit, before one service.

    ``failures`` are the errors that mean that the service does not answer. Any other error, and a
    cancellation, tells nothing of the service: it counts neither as a failure nor as a success,
    and if it ended a probe, the next operation is the probe.
    """

    def __init__(self, now_us: Callable[[], int], failures: tuple[type[Exception], ...]) -> None:
        self.state = CircuitState.CLOSED
        self._now_us = now_us
        self._failures = failures
        self._in_a_row = 0
        self._probe_us = 0
        self._changes = 0

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The result of ``operation``.

        Raises:
            CircuitOpen: it was not let through, and has not begun.
        """
        admitted = self._admit()
        try:
            result = await operation()
        except self._failures:
            self._end(admitted, succeeded=False)
            raise
        except BaseException:
            self._end(admitted, succeeded=None)
            raise
        self._end(admitted, succeeded=True)
        return result

    def _admit(self) -> int:
        """Let one operation through; how often the state had changed by then."""
        if self.state is CircuitState.OPEN and self._now_us() >= self._probe_us:
            self._become(CircuitState.HALF_OPEN)
        elif self.state is not CircuitState.CLOSED:
            raise CircuitOpen(self.state)
        return self._changes

    def _end(self, admitted: int, *, succeeded: bool | None) -> None:
        """Take the outcome of an operation, ``None`` if it tells nothing.

        What was let through in an earlier state is old news, and changes nothing.
        """
        if admitted != self._changes:
            return
        if succeeded is not None:
            self._in_a_row = 0 if succeeded else self._in_a_row + 1
        if succeeded is False and self._in_a_row >= FAILURES:  # or one more, by a probe
            self._probe_us = self._now_us() + COOL_DOWN_US
            self._become(CircuitState.OPEN)
        elif self.state is CircuitState.HALF_OPEN:
            self._become(CircuitState.CLOSED if succeeded else CircuitState.OPEN)

    def _become(self, state: CircuitState) -> None:
        self.state = state
        self._changes += 1
