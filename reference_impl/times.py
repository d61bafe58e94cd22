"""The one time format of the stack: UTC with milliseconds, sortable as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS = 253_402_300_799_999


def from_wall_us(wall_us: int) -> str:
    """Microseconds since 1970 as ``YYYY-MM-DDTHH:MM:SS.mmmZ``, cut (not rounded) to milliseconds."""
    moment = _EPOCH + timedelta(microseconds=wall_us)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse(value: str | int) -> str:
    """An ISO 8601 text with its zone, or milliseconds since 1970, in the one format.

    Raises:
        ValueError: for anything else, a text without a zone included.
    """
    if isinstance(value, int):
        if not 0 <= value <= _MAX_MS:
            raise ValueError("milliseconds since 1970 must lie between 0 and the year 9999")
        return from_wall_us(value * 1000)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("the time needs its zone, for example 2026-01-31T12:00:00.000Z")
    return from_wall_us((moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1))
