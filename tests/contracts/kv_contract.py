"""What every stand-in for Workers KV keeps, as one node sees it.

Between two writes of one key a case lets a second pass: KV takes no more. Times have slack for an
implementation with modelled delays; what is exact is tested where the implementation is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from reference_impl.adapters.kv_rules import MAX_VALUE_BYTES
from reference_impl.ports import KVError, KVNamespace


@dataclass(frozen=True, slots=True)
class KVWorld:
    """A namespace that is empty, and a way to let its time pass."""

    kv: KVNamespace
    sleep_s: Callable[[float], Awaitable[None]]


Case = Callable[[KVWorld], Awaitable[None]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    """Add a case to the suite."""
    CASES.append(function)
    return function


# --------------------------------------------------------------------------- values


@case
async def what_was_put_is_read(world: KVWorld) -> None:
    """Any text under any key comes back as it was, with its metadata."""
    values = {"a": "", "b:c": "null", "\u00e9/\U0001f600": "\u20ac\x00\n", "*": "x" * 100_000}
    for key, value in values.items():
        await world.kv.put(key, value, metadata={"n": [1, None]})
    for key, value in values.items():
        assert await world.kv.get(key) == value
        assert await world.kv.get_with_metadata(key) == (value, {"n": [1, None]})


@case
async def a_missing_key_is_none(world: KVWorld) -> None:
    """Neither a value nor metadata; a value without metadata has ``None``."""
    assert await world.kv.get("k") is None
    assert await world.kv.get_with_metadata("k") == (None, None)
    await world.kv.put("other", "v")
    assert await world.kv.get_with_metadata("other") == ("v", None)


@case
async def the_last_write_stands(world: KVWorld) -> None:
    """A second put replaces value, metadata and life."""
    await world.kv.put("k", "v1", expiration_ttl=60, metadata=1)
    await world.sleep_s(2)
    await world.kv.put("k", "v2")
    assert await world.kv.get_with_metadata("k") == ("v2", None)
    await world.sleep_s(120)
    assert await world.kv.get("k") == "v2"


@case
async def a_deleted_key_is_gone(world: KVWorld) -> None:
    """Deleting what is not there is no error."""
    await world.kv.put("k", "v")
    await world.sleep_s(2)
    await world.kv.delete("k")
    await world.kv.delete("never there")
    assert await world.kv.get_with_metadata("k") == (None, None)
    assert (await world.kv.list()).keys == ()


@case
async def an_entry_ends(world: KVWorld) -> None:
    """Read before its end, gone after it, from reads and listings alike."""
    await world.kv.put("k", "v", expiration_ttl=60, metadata=1)
    await world.kv.put("for ever", "v")
    await world.sleep_s(50)
    assert await world.kv.get("k") == "v"
    await world.sleep_s(11)
    assert await world.kv.get_with_metadata("k") == (None, None)
    assert [key.name for key in (await world.kv.list()).keys] == ["for ever"]


# --------------------------------------------------------------------------- refusals


@case
async def keys_that_are_none_are_refused(world: KVWorld) -> None:
    """Empty, dots, and over 512 bytes of UTF-8; 512 bytes are taken."""
    for key, status in (("", 400), (".", 400), ("..", 400), ("\u00e9" * 257, 414)):
        for refused in (world.kv.get(key), world.kv.put(key, "v"), world.kv.delete(key)):
            with pytest.raises(KVError) as error:
                await refused
            assert error.value.status == status
    await world.kv.put("\u00e9" * 256, "v")
    assert await world.kv.get("\u00e9" * 256) == "v"


@case
async def lives_under_a_minute_are_refused(world: KVWorld) -> None:
    """59 s is an error and writes nothing, 60 s is taken."""
    for ttl in (59, 1, 0, -1):
        with pytest.raises(KVError, match="at least 60") as error:
            await world.kv.put("k", "v", expiration_ttl=ttl)
        assert error.value.status == 400
    assert await world.kv.get("k") is None
    await world.kv.put("k", "v", expiration_ttl=60)
    assert (await world.kv.list()).list_complete


@case
async def a_reader_keeps_its_copy_for_30_seconds_or_more(world: KVWorld) -> None:
    """A ``cacheTtl`` of 29 s is an error, of 30 s not."""
    with pytest.raises(KVError, match="cacheTtl"):
        await world.kv.get("k", cache_ttl=29)
    assert await world.kv.get_with_metadata("k", cache_ttl=30) == (None, None)


@case
async def values_over_25_mib_are_refused(world: KVWorld) -> None:
    """Counted in bytes, not in characters."""
    for value in ("x" * (MAX_VALUE_BYTES + 1), "\u20ac" * (MAX_VALUE_BYTES // 3 + 1)):
        with pytest.raises(KVError, match="413"):
            await world.kv.put("k", value)
    assert await world.kv.get("k") is None


# --------------------------------------------------------------------------- listings


@case
async def a_listing_is_in_the_order_of_utf8_bytes(world: KVWorld) -> None:
    """Not of UTF-16: a half-width sign comes before an emoji."""
    names = ["\U0001f600", "\uff61", "b", "a", "B", "aa", "\u00e9"]
    for name in names:
        await world.kv.put(name, "v")
    listed = [key.name for key in (await world.kv.list()).keys]
    assert listed == ["B", "a", "aa", "b", "\u00e9", "\uff61", "\U0001f600"]


@case
async def a_prefix_is_taken_literally(world: KVWorld) -> None:
    """Signs that mean something to a pattern are ordinary here."""
    for name in ("a*1", "a?1", "ab1", "a[b]1", "\\a"):
        await world.kv.put(name, "v")
    for prefix, found in (("a*", ["a*1"]), ("a[b]", ["a[b]1"]), ("\\", ["\\a"]), ("x", [])):
        page = await world.kv.list(prefix=prefix)
        assert ([key.name for key in page.keys], page.list_complete) == (found, True)


@case
async def pages_make_up_the_whole(world: KVWorld) -> None:
    """Page by page every key once, in order; only the last page is complete."""
    names = [f"k{i:02}" for i in range(7)]
    for name in names:
        await world.kv.put(name, "v")
    listed: list[str] = []
    cursor, complete, pages = None, False, 0
    while not complete:
        page = await world.kv.list(prefix="k", limit=3, cursor=cursor)
        listed += [key.name for key in page.keys]
        cursor, complete, pages = page.cursor, page.list_complete, pages + 1
    assert (listed, pages, cursor) == (names, 3, None)


@case
async def a_cursor_outlives_its_key(world: KVWorld) -> None:
    """The key that a page ended with may be gone when the next page is asked for."""
    for name in "abcd":
        await world.kv.put(name, "v")
    first = await world.kv.list(limit=2)
    await world.sleep_s(2)
    await world.kv.delete("b")
    rest = await world.kv.list(limit=2, cursor=first.cursor)
    assert [key.name for key in rest.keys] == ["c", "d"]


@case
async def a_limit_is_up_to_1000(world: KVWorld) -> None:
    """1,001 is an error; zero and less mean no limit of the caller's."""
    for name in "ab":
        await world.kv.put(name, "v")
    for limit in (None, 0, -1, 1000):
        assert len((await world.kv.list(limit=limit)).keys) == 2
    with pytest.raises(KVError, match="at most 1000"):
        await world.kv.list(limit=1001)
