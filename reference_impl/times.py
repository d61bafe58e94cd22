"""The one time format of the stack: UTC with milliseconds, sortable as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_MS = 253_402_300_799_999
_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


def from_wall_us(wall_us: int) -> str:
    """Microseconds since 1970 as ``YYYY-MM-DDTHH:MM:SS.mmmZ``; what is below 1 ms is cut off."""
    seconds, us = divmod(wall_us, 1_000_000)
    return f"{_to_the_second(seconds)}.{us // 1000:03d}Z"


def to_wall_us(text: str) -> int:
    """Microseconds since 1970 of a time in the one format."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def parse(value: str | int) -> str:
    """An ISO 8601 text with its zone, or milliseconds since 1970, in the one format.

    Raises:
        ValueError: for anything else, a text without a zone included.
    """
    if isinstance(value, int):
        if not 0 <= value <= MAX_MS:
            raise ValueError("milliseconds since 1970 must lie between 0 and the year 9999")
        return from_wall_us(value * 1000)
    moment = datetime.fromisoformat(value)
    if _CANONICAL.fullmatch(value):
        return value
    if moment.tzinfo is None:
        raise ValueError("the time needs its zone, for example 2026-01-31T12:00:00.000Z")
    try:
        return from_wall_us((moment - _EPOCH) // timedelta(microseconds=1))
    except OverflowError:
        raise ValueError("in UTC the time must lie in the years 1 to 9999") from None


@lru_cache(maxsize=16)
def _to_the_second(seconds: int) -> str:
    """The time so many seconds after 1970, without its zone; most calls ask for the present one."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[: len("YYYY-MM-DDTHH:MM:SS")]
