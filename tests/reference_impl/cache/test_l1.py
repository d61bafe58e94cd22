"""L1 against a dull oracle: a list of entries in order of use, each with its end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reference_impl.cache.l1 import ENTRY_OVERHEAD_BYTES, L1Cache

MAX_BYTES = 4 * ENTRY_OVERHEAD_BYTES
MAX_ENTRIES = 3
keys = st.sampled_from(["a", "a:1", "b", "b:1", "b:2"])


class OracleL1:
    """What L1 should be, with no thought of speed. Oldest use first."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[str, int]] = {}

    def expire(self, now: int) -> None:
        self.entries = {k: e for k, e in self.entries.items() if now < e[1]}

    def get(self, key: str) -> str | None:
        if key not in self.entries:
            return None
        self.entries[key] = self.entries.pop(key)
        return self.entries[key][0]

    def set(self, key: str, text: str, expires: int, now: int) -> None:
        self.entries.pop(key, None)
        if len(text) + ENTRY_OVERHEAD_BYTES > MAX_BYTES or expires <= now:
            return
        self.entries[key] = (text, expires)
        while self.size() > MAX_BYTES or len(self.entries) > MAX_ENTRIES:
            del self.entries[next(iter(self.entries))]

    def size(self) -> int:
        return sum(len(text) + ENTRY_OVERHEAD_BYTES for text, _ in self.entries.values())


class L1AgainstOracle(RuleBasedStateMachine):
    """Any order of operations, in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.cache = L1Cache(lambda: self.now, MAX_BYTES, MAX_ENTRIES)
        self.oracle = OracleL1()

    @rule(us=st.integers(1, 20))
    def pass_time(self, us: int) -> None:
        self.now += us
        self.oracle.expire(self.now)

    @rule(key=keys)
    def get(self, key: str) -> None:
        assert self.cache.get(key) == self.oracle.get(key)

    @rule(key=keys, length=st.integers(0, MAX_BYTES), life=st.integers(0, 30))
    def set(self, key: str, length: int, life: int) -> None:
        text = f"{key}{self.now}".ljust(length, ".")
        self.cache.set(key, text, self.now + life)
        self.oracle.set(key, text, self.now + life, self.now)
        assert self.cache.size_bytes == self.oracle.size()

    @rule(key=keys)
    def delete(self, key: str) -> None:
        assert self.cache.delete(key) == (self.oracle.entries.pop(key, None) is not None)

    @rule(prefix=st.sampled_from(["", "a", "b:"]))
    def list_keys(self, prefix: str) -> None:
        expected = {key for key in self.oracle.entries if key.startswith(prefix)}
        assert set(self.cache.list_keys(prefix)) == expected

    @rule(gone=st.lists(keys, unique=True))
    def delete_many(self, gone: list[str]) -> None:
        expected = [self.oracle.entries.pop(key, None) for key in gone]
        assert self.cache.delete_many(gone) == sum(entry is not None for entry in expected)

    @rule()
    def clear(self) -> None:
        self.oracle.entries.clear()
        self.cache.clear()
        assert (self.cache.size_bytes, self.cache.get_stats()["sets"]) == (0, 0)

    @rule(prefix=st.sampled_from(["a", "b:", "c"]))
    def delete_prefix(self, prefix: str) -> None:
        gone = [key for key in self.oracle.entries if key.startswith(prefix)]
        for key in gone:
            del self.oracle.entries[key]
        assert self.cache.invalidate_by_prefix(prefix) == len(gone)

    @invariant()
    def same_length(self) -> None:
        assert len(self.cache) == len(self.oracle.entries)


TestL1AgainstOracle = L1AgainstOracle.TestCase
TestL1AgainstOracle.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.fixture
def clock() -> list[int]:
    return [0]


@pytest.fixture
def cache(clock: list[int]) -> L1Cache:
    return L1Cache(lambda: clock[0], 10_000, 10)


def test_c16_an_entry_is_gone_at_its_expiry(cache: L1Cache, clock: list[int]) -> None:
    """Served a microsecond before its end, not at it."""
    cache.set("k", "v", 1_000)
    clock[0] = 999
    assert cache.get("k") == "v"
    clock[0] = 1_000
    assert cache.get("k") is None


def test_c16_a_life_of_nothing_is_not_for_ever(cache: L1Cache) -> None:
    """An entry that ends now was never there, and takes away the one before it."""
    cache.set("k", "old", 1_000)
    cache.set("k", "new", 0)
    assert cache.get("k") is None
    assert cache.size_bytes == 0


def test_c15_bounded_in_entries_and_bytes(cache: L1Cache) -> None:
    """However much is written, neither bound is passed; what is larger than all is not kept."""
    for i in range(1_000):
        cache.set(str(i), "v" * (i % 3_000), 10**9)
        assert len(cache) <= 10
        assert cache.size_bytes <= 10_000
    cache.set("huge", "v" * 10_000, 10**9)
    assert cache.get("huge") is None


def test_a_huge_value_takes_the_old_one_with_it(cache: L1Cache) -> None:
    """What cannot be kept must not leave its predecessor to be served, nor be counted."""
    cache.set("k", "old", 10**9)
    cache.set("k", "v" * 10_000, 10**9)
    assert cache.get("k") is None
    assert cache.size_bytes == 0


def test_c16_expired_entries_are_swept_by_writing(cache: L1Cache, clock: list[int]) -> None:
    """Entries that nobody reads any more leave memory with the next write."""
    for i in range(8):
        cache.set(str(i), "v", 1_000)
    clock[0] = 1_000
    cache.set("new", "v", 2_000)
    assert cache.size_bytes == len("v") + ENTRY_OVERHEAD_BYTES


def test_c18_deleting_what_is_not_there_is_not_a_deletion(cache: L1Cache, clock: list[int]) -> None:
    """Unknown and expired keys count as nothing deleted."""
    cache.set("k", "v", 1_000)
    assert cache.delete("other") is False
    clock[0] = 1_000
    assert cache.delete("k") is False
    assert cache.invalidate_by_prefix("") == 0


def test_c16_c17_what_is_counted(cache: L1Cache, clock: list[int]) -> None:
    """Hits, misses (an expired entry is one), writes and real deletions; all 0 after a clear."""
    assert cache.get_stats()["hit_ratio"] is None
    cache.set("k", "v", 1_000)
    cache.get("k")
    cache.get("other")
    clock[0] = 1_000
    cache.get("k")
    cache.set("k", "v", 2_000)
    cache.delete("k")
    cache.delete("k")
    assert cache.get_stats() == {
        "hits": 1, "misses": 2, "hit_ratio": 1 / 3, "sets": 2, "deletes": 1, "entries": 0,
        "bytes": 0,
    }  # fmt: skip
    cache.clear()
    assert cache.get_stats()["misses"] == 0


def test_c01_an_entry_may_end_between_two_looks_at_the_clock() -> None:
    """In real time the clock moves while a look-up runs: a miss then, not an error."""
    ticks = iter(range(100))
    cache = L1Cache(lambda: next(ticks), 10_000, 10)
    cache.set("k", "v", 12)
    while cache.get("k") is not None:
        pass
    cache.set("k", "v", 40)
    while cache.delete("k"):
        cache.set("k", "v", 40)
    assert len(cache) == 0
