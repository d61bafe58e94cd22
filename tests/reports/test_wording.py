"""Numbers in words: three digits, no false precision, nothing that rounds to a different story."""

from __future__ import annotations

import math

import pytest

from reports import wording


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (71.23, "ms", "71.2 ms"),
        (9.994, "ms", "9.99 ms"),
        (9.996, "ms", "10.0 ms"),
        (99.96, "ms", "100 ms"),
        (12345.6, "ms", "12,346 ms"),
        (0, "ms", "0.00 ms"),
        (0.97123, "ratio", "0.9712"),
        (0.00012, "ratio", "0.00012"),
        (0, "ratio", "0"),
        (None, "ms", "none"),
        (math.inf, "ms", "inf ms"),
    ],
)
def test_quantities(value: float | None, unit: str, text: str) -> None:
    """Three digits of a time, four decimals of a ratio, two digits of a small one."""
    assert wording.quantity(value, unit) == text


def test_limits_read_as_the_contract_writes_them() -> None:
    """No trailing zeros, no rounding, a unit unless it is a ratio."""
    assert wording.limit("<", 50, "ms") == "< 50 ms"
    assert wording.limit(">=", 0.95, "ratio") == ">= 0.95"
    assert wording.limit("<", 1234567, "ms") == "< 1234567 ms"


def test_intervals_and_shares() -> None:
    """Brackets, an open end, nothing for no interval; a share with its per cent sign."""
    assert wording.interval((1, math.inf), "ms") == "[1.00, inf]"
    assert wording.interval(None, "ms") == ""
    assert wording.share(0.99871, 2) == "99.87 %"
