"""The rate limit: buckets in exact time, clients apart, memory bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.http.rate_limit import BURST_S, MAX_CLIENTS, RateLimit

SECOND_US = 1_000_000


class Clock:
    """A time that is set."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 3 * SECOND_US), st.integers(1, 50)), max_size=60),
)
def test_no_client_gets_more_than_its_rate(rate: int, asked: list[tuple[int, int]]) -> None:
    """Over any span a client has a full bucket, its rate, and one oversized post more."""
    clock = Clock()
    limit = RateLimit(clock, rate)
    through: list[tuple[int, int]] = []
    for pause_us, count in asked:
        clock.now_us += pause_us
        if limit.wait_s("a", count) == 0:
            through.append((clock.now_us, count))
    for start, (from_us, _) in enumerate(through):
        for end in range(start, len(through)):
            span_s = (through[end][0] - from_us) / SECOND_US
            got = sum(count for _, count in through[start : end + 1])
            assert got <= rate * (span_s + BURST_S) + through[end][1] + 1e-6


@given(st.integers(1, 1000), st.integers(1, 5000))
def test_who_waits_as_told_is_let_through(rate: int, count: int) -> None:
    """And not a microsecond's rounding earlier; refused ones are not counted."""
    clock = Clock()
    limit = RateLimit(clock, rate)
    while limit.wait_s("a", count) == 0:
        pass
    wait_s = limit.wait_s("a", count)
    assert limit.wait_s("a", count) == wait_s
    clock.now_us += int(wait_s * SECOND_US) - 1
    assert limit.wait_s("a", count) > 0
    clock.now_us += 2
    assert limit.wait_s("a", count) == 0


def test_a_rate_that_is_kept_is_never_refused() -> None:
    """One every 10 ms at 100 a second, for ten minutes."""
    clock = Clock()
    limit = RateLimit(clock, 100)
    for _ in range(60_000):
        assert limit.wait_s("a") == 0
        clock.now_us += 10_000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("not:an:address", "not:an:other", False),
    ],
)
def test_clients_are_told_apart_by_network(one: str, other: str, same: bool) -> None:
    """An IPv4 address is one client, and so is a /64 of IPv6."""
    limit = RateLimit(Clock(), 1)
    for _ in range(BURST_S):
        assert limit.wait_s(one) == 0
    assert limit.wait_s(one) > 0
    assert (limit.wait_s(other) > 0) is same


def test_memory_is_bounded() -> None:
    """Only the last so many clients are remembered."""
    limit = RateLimit(Clock(), 1)
    for number in range(MAX_CLIENTS + 50):
        limit.wait_s(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limit._empty_since_us) == MAX_CLIENTS
