"""Cache keys: one question, one key, and KV takes each."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from reference_impl.config import CACHE_TTL_S
from reference_impl.keys import KV_MAX_KEY_BYTES, cache_key

types = st.sampled_from(list(CACHE_TTL_S))
text = st.text(st.characters(exclude_categories=["Cs"]))
tricky = st.text(st.sampled_from(":%#/ 3Aa\u00e9\u20ac\U0001f600\x00"), max_size=6)
parts = st.lists(tricky | text, min_size=1, max_size=4)


@given(types, types, parts, parts)
def test_a10_d02_no_two_questions_share_a_key(
    type_a: str, type_b: str, parts_a: list[str], parts_b: list[str]
) -> None:
    """Different types or parts make different keys, whatever ':' or '%' they hold."""
    assume((type_a, parts_a) != (type_b, parts_b))
    assert cache_key(type_a, *parts_a) != cache_key(type_b, *parts_b)


@given(types, parts, st.integers(1, 60))
def test_c11_a_key_is_never_over_512_bytes(cache_type: str, some: list[str], times: int) -> None:
    """Long keys are hashed into KV's bound and keep their type in front, for listings."""
    key = cache_key(cache_type, *(part * times for part in some))
    assert len(key.encode()) <= KV_MAX_KEY_BYTES
    assert key.startswith(f"{cache_type}:")


def test_c11_long_keys_stay_apart() -> None:
    """Two keys that differ only behind the 512th byte are two keys; at 512 none is hashed."""
    head = "x" * (KV_MAX_KEY_BYTES - len("attribution:"))
    assert cache_key("attribution", head) == f"attribution:{head}"
    longer = [cache_key("attribution", head + tail) for tail in ("a", "b")]
    assert longer[0] != longer[1]
    assert "#" in longer[0]


def test_a_hash_cannot_be_asked_for() -> None:
    """A part that looks like a hashed tail is encoded, so nobody can hit another's hashed key."""
    hashed = cache_key("attribution", "x" * 1000)
    assert cache_key("attribution", hashed.removeprefix("attribution:")) != hashed
