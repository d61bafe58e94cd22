"""Workers KV as modelled: who sees which version when, rule by rule."""

from __future__ import annotations

import pytest

from tests.sim.kvs import KV, READ_CENTRAL_US, READ_NODE_US, WRITE_US
from tests.sim.small import MS, SECOND

# --------------------------------------------------------------------------- single rules


def test_the_writing_node_sees_its_write_at_once() -> None:
    """From the acknowledgement on, and its reads are answered by its own copy."""
    kv = KV()
    kv.write(0, "fra", "new")
    kv.read(WRITE_US + 1, "fra")
    assert kv.run() == {WRITE_US + 1: "new"}
    assert kv.runtime.now_us() == WRITE_US + 1 + READ_NODE_US


@pytest.mark.parametrize("cache_ttl", [None, 30, 100])
def test_another_node_sees_it_when_its_copy_is_too_old(cache_ttl: int | None) -> None:
    """Not one microsecond before the reader's cacheTtl (60 s unless it says) is over."""
    kv = KV()
    kv.read(0, "iad", cache_ttl=cache_ttl)  # a copy of "not there"
    kv.write(SECOND, "fra", "new")
    outlived_us = READ_CENTRAL_US + (cache_ttl or 60) * SECOND
    kv.read(outlived_us - 1, "iad", cache_ttl=cache_ttl)
    kv.read(outlived_us, "iad", cache_ttl=cache_ttl)
    assert kv.run() == {0: None, outlived_us - 1: None, outlived_us: "new"}


def test_each_reader_brings_its_own_cache_ttl() -> None:
    """The age of the copy is compared with the life that this reader grants."""
    kv = KV()
    kv.read(0, "iad")
    kv.write(SECOND, "fra", "new")
    kv.read(40 * SECOND, "iad", cache_ttl=50)
    kv.read(41 * SECOND, "iad", cache_ttl=30)
    kv.read(42 * SECOND, "iad", cache_ttl=50)
    assert kv.run() == {0: None, 40 * SECOND: None, 41 * SECOND: "new", 42 * SECOND: "new"}


@pytest.mark.parametrize(("late_us", "seen"), [(-1, "new"), (0, None)])
def test_the_store_drops_an_entry_at_its_expiry(late_us: int, seen: str | None) -> None:
    """A fetch that arrives just before it finds the value, one at that instant does not."""
    kv = KV()
    kv.write(0, "fra", "new", ttl=60)
    asked_us = 60 * SECOND - READ_CENTRAL_US + late_us
    kv.read(asked_us, "iad")
    assert kv.run() == {asked_us: seen}


def test_expiry_is_exact_everywhere() -> None:
    """Gone at its last microsecond, in a node's copy and in the store."""
    kv = KV()
    kv.write(0, "fra", "new", ttl=60)
    end_us = 60 * SECOND
    kv.read(end_us - 1, "fra", cache_ttl=100)
    kv.read(end_us, "fra", cache_ttl=100)
    kv.read(end_us - 2 - READ_CENTRAL_US, "iad")
    kv.read(end_us + SECOND, "iad", cache_ttl=100)
    answers = kv.run()
    assert answers[end_us - 1] == answers[end_us - 2 - READ_CENTRAL_US] == "new"
    assert answers[end_us] is answers[end_us + SECOND] is None
    assert kv.store.keys() == []


@pytest.mark.parametrize(("gap_us", "refused"), [(SECOND - 1, True), (SECOND, False)])
def test_a_key_takes_one_write_a_second(gap_us: int, refused: bool) -> None:
    """The second one within a second gets 429 and changes nothing; another key is free."""
    kv = KV()
    kv.write(0, "fra", "first")
    kv.write(1, "fra", "other", key="other")
    kv.write(gap_us, "iad", "second")
    kv.read(2 * SECOND, "fra", cache_ttl=60)
    kv.read(2 * SECOND + 1, "iad", cache_ttl=60)
    answers = kv.run()
    assert (answers.get(gap_us) == "refused 429") is refused
    assert answers[2 * SECOND] == "first"
    assert answers[2 * SECOND + 1] == ("first" if refused else "second")
    assert (kv.store.writes, kv.store.writes_refused) == ((2, 1) if refused else (3, 0))


def test_a_refused_write_does_not_hold_up_the_next() -> None:
    """The second counts from the last write that was taken."""
    kv = KV()
    for at_us in (0, 900 * MS, 1_100 * MS):
        kv.write(at_us, "fra", f"{at_us}")
    kv.read(2 * SECOND, "fra")
    assert kv.run() == {900 * MS: "refused 429", 2 * SECOND: f"{1_100 * MS}"}


def test_a_deletion_is_a_write() -> None:
    """Seen at once here, later there, and counted against the key's second."""
    kv = KV()
    kv.write(0, "fra", "old")
    kv.read(SECOND, "iad")
    kv.write(2 * SECOND, "fra", None)
    kv.write(2 * SECOND + 1, "fra", "again")
    kv.read(3 * SECOND, "fra")
    kv.read(3 * SECOND + 1, "iad")
    assert kv.run() == {
        SECOND: "old",
        2 * SECOND + 1: "refused 429",
        3 * SECOND: None,
        3 * SECOND + 1: "old",
    }


def test_every_write_becomes_visible_after_its_own_delay() -> None:
    """A key written again and again is not kept from other nodes until the writing stops."""
    kv = KV(propagation_ms=10_000)
    for second in range(0, 40, 2):
        kv.write(second * SECOND, "fra", f"v{second}")
    for second in (9, 15, 25):
        kv.read(second * SECOND, "iad" if second == 15 else "fra", key="k", cache_ttl=30)
    answers = kv.run()
    assert answers[15 * SECOND] == "v4"
    assert (answers[9 * SECOND], answers[25 * SECOND]) == ("v8", "v24")


def test_a_slow_fetch_does_not_undo_the_node_s_own_write() -> None:
    """A read on its way to the store when the node writes brings back what the store still has."""
    kv = KV(propagation_ms=10_000)
    kv.read(15 * MS, "fra")  # back at 35 ms; the write below is acknowledged at 30 ms
    kv.write(0, "fra", "new")
    kv.read(SECOND, "fra")
    assert kv.run() == {15 * MS: None, SECOND: "new"}


def test_metadata_comes_with_its_version() -> None:
    """And a key that is not there has none."""
    kv = KV()
    kv.write(0, "fra", "v")
    seen: list[object] = []

    async def work() -> None:
        seen.append(await kv.binding("fra").get_with_metadata("k"))
        seen.append(await kv.binding("fra").get_with_metadata("absent"))

    kv.runtime.spawn(work(), at_us=SECOND)
    kv.run()
    assert seen == [("v", {"of": "v"}), (None, None)]


def test_listing_tells_what_the_store_has() -> None:
    """By prefix, in order, page by page; deleted keys are not there."""
    kv = KV()
    for key in ("b:2", "a:1", "b:1", "b:3"):
        kv.write(0, "fra", "v", key=key)
    kv.write(2 * SECOND, "fra", None, key="b:3")
    pages = []

    async def work() -> None:
        page = await kv.binding("fra").list(prefix="b:", limit=1)
        pages.append(page)
        pages.append(await kv.binding("fra").list(prefix="b:", limit=1, cursor=page.cursor))

    kv.runtime.spawn(work(), at_us=3 * SECOND)
    kv.run()
    assert [[key.name for key in page.keys] for page in pages] == [["b:1"], ["b:2"]]
    assert [page.list_complete for page in pages] == [False, True]


@pytest.mark.parametrize(
    ("status", "wrong"),
    [(400, {"ttl": 59}), (400, {"key": ""}), (414, {"key": "x" * 513})],
)
def test_what_kv_never_takes_costs_no_write(status: int, wrong: dict[str, object]) -> None:
    """Refused before the service is asked: the key's second is not used up."""
    kv = KV()
    kv.write(0, "fra", "v", **wrong)  # type: ignore[arg-type]
    assert kv.run() == {0: f"refused {status}"}
    assert (kv.store.writes, kv.runtime.now_us()) == (0, 0)
