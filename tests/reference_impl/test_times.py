"""The one time format: sortable as text, and every odd input a ValueError."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.times import from_wall_us, parse

FORMAT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones)


def in_ms(moment: datetime) -> datetime:
    """``moment`` in UTC, cut to milliseconds."""
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


@given(moments)
def test_d11_every_text_with_a_zone_becomes_the_one_format(moment: datetime) -> None:
    """The instant is kept to the millisecond, whatever its zone and precision were."""
    text = parse(moment.isoformat())
    assert FORMAT.fullmatch(text)
    assert datetime.fromisoformat(text) == in_ms(moment)


@given(moments, moments)
def test_d11_texts_sort_as_their_instants(a: datetime, b: datetime) -> None:
    """Years before 1000 included: the database compares the texts."""
    assert (parse(a.isoformat()) < parse(b.isoformat())) == (in_ms(a) < in_ms(b))


@given(st.integers(0, 253_402_300_799_999))
def test_milliseconds_and_text_agree(ms: int) -> None:
    """Epoch milliseconds and the text of the same instant become the same."""
    text = parse(ms)
    assert parse(text) == text
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=ms
    )


def test_a_clock_is_cut_not_rounded() -> None:
    """The last microsecond of a year is still in it."""
    assert from_wall_us(1_767_225_599_999_999) == "2025-12-31T23:59:59.999Z"
    assert from_wall_us(1_767_225_600_000_000) == "2026-01-01T00:00:00.000Z"


@given(st.text(max_size=40) | st.integers())
def test_d11_anything_else_is_a_value_error(value: str | int) -> None:
    """Nothing but ValueError, which becomes a 400 with the field's name."""
    with suppress(ValueError):
        assert FORMAT.fullmatch(parse(value))


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00:00",  # no zone: whose noon?
        "2026-01-31",
        "2026-02-30T00:00:00.000Z",
        "2026-01-31T25:00:00.000Z",
        "0001-01-01T00:00:00+05:00",  # before the year 1 in UTC
        "9999-12-31T23:59:59-05:00",
        "now",
        "",
        "2026-01-31T12:00:0\ud800Z",
        -1,
        253_402_300_800_000,
    ],
)
def test_b12_refused_times(value: str | int) -> None:
    """A text without its zone, a date that is none, and what lies outside the years 1 to 9999."""
    with pytest.raises(ValueError, match=r".+"):
        parse(value)
