"""What every stand-in for Workers KV keeps, as one node sees it.

Between two writes of one key a case lets a second pass: KV takes no more. Times have slack for an
implementation with modelled delays; what is exact is tested where the implementation is.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from reference_impl.adapters.kv_rules import MAX_VALUE_BYTES
from reference_impl.ports import KVEntry, KVError, KVJSONError, KVKey, KVNamespace, KVTypeError


@dataclass(frozen=True, slots=True)
class KVWorld:
    """A namespace that is empty, a way to let its time pass, and what time it is."""

    kv: KVNamespace
    sleep_s: Callable[[float], Awaitable[None]]
    now_s: Callable[[], float]


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
async def a_value_is_read_as_asked(world: KVWorld) -> None:
    """As text, as what its JSON says, as bytes; what is put may be either."""
    await world.kv.put("t", '{"a": [1, "\u00f1"]}', metadata="m")
    await world.kv.put("b", b"\x00\xff\x80\xc3\xa9")
    assert await world.kv.get("t", "json") == {"a": [1, "\u00f1"]}
    assert await world.kv.get("t", "bytes") == b'{"a": [1, "\xc3\xb1"]}'
    assert await world.kv.get_with_metadata("t", "json") == ({"a": [1, "\u00f1"]}, "m")
    assert await world.kv.get("b", "bytes") == b"\x00\xff\x80\xc3\xa9"
    assert await world.kv.get("b") == "\x00\ufffd\ufffd\u00e9"
    assert await world.kv.get("none", "json") is None


@case
async def what_is_no_json_is_an_error(world: KVWorld) -> None:
    """As JSON; as text it is what it is. Constants that only Python reads are none."""
    for place, text in enumerate(("plain", "", "NaN", "[1,]")):
        await world.kv.put(f"k{place}", text)
        with pytest.raises(KVJSONError):
            await world.kv.get(f"k{place}", "json")
        assert await world.kv.get(f"k{place}") == text


@case
async def an_unknown_type_is_refused(world: KVWorld) -> None:
    """Once there is a value to read; for a key that is not there nobody notices."""
    await world.kv.put("k", "v")
    with pytest.raises(KVTypeError, match="Unknown response type"):
        await world.kv.get("k", "xml")  # type: ignore[call-overload]
    assert await world.kv.get("none", "xml") is None  # type: ignore[call-overload]


@case
async def several_keys_are_one_read(world: KVWorld) -> None:
    """Values by key, ``None`` for those that are not there, a key asked for twice once."""
    await world.kv.put("a", "1", metadata={"n": 1})
    await world.kv.put("b", "[2]")
    assert await world.kv.get(["a", "none", "b", "a"]) == {"a": "1", "none": None, "b": "[2]"}
    assert await world.kv.get(["a", "b"], "json") == {"a": 1, "b": [2]}
    assert await world.kv.get_with_metadata(["a", "none", "b"]) == {
        "a": KVEntry("1", {"n": 1}), "none": None, "b": KVEntry("[2]", None),
    }  # fmt: skip
    await world.kv.put("c", "no JSON")
    with pytest.raises(KVJSONError):
        await world.kv.get(["a", "c"], "json")


@case
async def a_bulk_read_has_1_to_100_keys(world: KVWorld) -> None:
    """As text or as JSON, and each a key that KV takes."""
    assert await world.kv.get([f"k{i}" for i in range(100)]) == {f"k{i}": None for i in range(100)}
    for keys in ([], [f"k{i}" for i in range(101)], ["k", ""]):
        with pytest.raises(KVError):
            await world.kv.get(keys)
    with pytest.raises(KVError, match="not a valid type"):
        await world.kv.get(["k"], "bytes")


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


@case
async def an_end_is_exact_at_the_second(world: KVWorld) -> None:
    """A life counts from the whole second of its write; at its end it is over."""
    await world.sleep_s(math.ceil(world.now_s()) + 0.75 - world.now_s())
    written_s = math.floor(world.now_s())
    await world.kv.put("k", "v", expiration_ttl=60)
    await world.sleep_s(written_s + 59.5 - world.now_s())
    assert (await world.kv.list()).keys == (KVKey("k", written_s + 60),)
    assert await world.kv.get("k") == "v"
    await world.sleep_s(written_s + 60 - world.now_s())
    assert (await world.kv.get("k"), (await world.kv.list()).keys) == (None, ())


@case
async def an_end_may_be_an_instant(world: KVWorld) -> None:
    """In whole seconds, a fraction is dropped; a life given besides wins."""
    await world.sleep_s(math.ceil(world.now_s()) - world.now_s())
    now_s = math.floor(world.now_s())
    await world.kv.put("a", "v", expiration=now_s + 100.9)
    await world.kv.put("b", "v", expiration_ttl=200.9, expiration=now_s + 100)
    assert [key.expiration for key in (await world.kv.list()).keys] == [now_s + 100, now_s + 200]
    for at_s in (now_s - 1, now_s, now_s + 59, math.nan):
        with pytest.raises(KVError, match="Invalid expiration of") as error:
            await world.kv.put("c", "v", expiration=at_s)
        assert error.value.status == 400
    assert await world.kv.get("c") is None


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
        with pytest.raises(KVError, match="Invalid expiration_ttl") as error:
            await world.kv.put("k", "v", expiration_ttl=ttl)
        assert error.value.status == 400
    assert await world.kv.get("k") is None
    await world.kv.put("k", "v", expiration_ttl=60)
    assert (await world.kv.list()).list_complete


@case
async def a_reader_keeps_its_copy_for_30_seconds_or_more(world: KVWorld) -> None:
    """A ``cacheTtl`` of 29 s is an error, of 30 s not."""
    with pytest.raises(KVError, match="cache_ttl of 29"):
        await world.kv.get("k", cache_ttl=29)
    assert await world.kv.get_with_metadata("k", cache_ttl=30) == (None, None)


@case
async def values_over_25_mib_are_refused(world: KVWorld) -> None:
    """Counted in bytes, not in characters."""
    for value in ("x" * (MAX_VALUE_BYTES + 1), "\u20ac" * (MAX_VALUE_BYTES // 3 + 1)):
        with pytest.raises(KVError, match="413"):
            await world.kv.put("k", value)
    assert await world.kv.get("k") is None


@case
async def metadata_is_json_of_1024_bytes(world: KVWorld) -> None:
    """Counted as compact UTF-8; what is no JSON is refused."""
    for metadata in ("m" * 1022, "\u20ac" * 340):
        await world.kv.put("k", "v", metadata=metadata)
        await world.sleep_s(2)
    for metadata in ("m" * 1023, "\u20ac" * 341):
        with pytest.raises(KVError, match="413 Metadata length"):
            await world.kv.put("k", "refused", metadata=metadata)
    for nothing in (object(), math.nan, {"a": {1, 2}}):
        with pytest.raises(KVTypeError):
            await world.kv.put("k", "refused", metadata=nothing)
    assert await world.kv.get_with_metadata("k") == ("v", "\u20ac" * 340)


@case
async def only_text_and_bytes_are_values(world: KVWorld) -> None:
    """And only text is a key; half a surrogate pair goes out as JavaScript has it."""
    values: list[Any] = [1, True, None, [], {}]
    for value in values:
        with pytest.raises(KVTypeError):
            await world.kv.put("k", value)
    for key in (1, None, b"k", "\ud800"):
        with pytest.raises(KVTypeError):
            await world.kv.put(key, "v")  # type: ignore[arg-type]
    await world.kv.put("k", "a\ud800b")
    assert await world.kv.get("k") == "a\ufffdb"


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
async def a_page_has_room_for_the_living(world: KVWorld) -> None:
    """Ended and deleted keys take no place on a page; one key over the limit makes two pages."""
    for name in "abcdef":
        await world.kv.put(name, "v", expiration_ttl=60 if name in "ace" else None)
    await world.sleep_s(61)
    await world.kv.delete("b")
    page = await world.kv.list(limit=2)
    assert (page.keys, page.list_complete) == ((KVKey("d"), KVKey("f")), True)
    assert not (await world.kv.list(limit=1)).list_complete


@case
async def a_cursor_that_is_none_finds_nothing(world: KVWorld) -> None:
    """As the platform has it: an empty page, and complete."""
    await world.kv.put("k", "v")
    page = await world.kv.list(cursor="no cursor!")
    assert (page.keys, page.list_complete, page.cursor) == ((), True, None)


@case
async def a_prefix_is_no_longer_than_a_key(world: KVWorld) -> None:
    """Over 512 bytes it is an error, as C28 wants it; listings tell end and metadata."""
    await world.kv.put("\u00e9" * 256, "v", metadata={"m": 1})
    page = await world.kv.list(prefix="\u00e9" * 256)
    assert page.keys == (KVKey("\u00e9" * 256, None, {"m": 1}),)
    with pytest.raises(KVError, match="414"):
        await world.kv.list(prefix="\u00e9" * 257)


@case
async def a_limit_is_up_to_1000(world: KVWorld) -> None:
    """1,001 is an error; zero and less mean no limit of the caller's."""
    for name in "ab":
        await world.kv.put(name, "v")
    for limit in (None, 0, -1, 1000, math.nan, "1"):
        assert len((await world.kv.list(limit=limit)).keys) == 2  # type: ignore[arg-type]
    with pytest.raises(KVError, match="key_count_limit of 1001"):
        await world.kv.list(limit=1001)
