"""Evidence as headers: there and back, and nothing a stranger sends can raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.http.evidence_headers import MAX_HEADER_CHARS, MAX_MEMBERS, decode, encode
from reference_impl.messages import D1Call, Evidence, KVCall, Layer, Lookup

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}", fullmatch=True)
times_us = st.integers(0, 10**12 - 1_000)
lookups = st.builds(
    Lookup, names, st.sampled_from([each for each in Layer if each is not Layer.UNKNOWN]),
    st.booleans(), st.booleans(),
)  # fmt: skip
maybe_us = st.none() | times_us
calls = st.builds(D1Call, names, times_us, maybe_us, maybe_us, maybe_us, st.booleans())
operations = st.builds(KVCall, names, times_us, st.booleans())


@given(
    st.builds(
        Evidence,
        st.lists(lookups, max_size=MAX_MEMBERS),
        st.lists(calls, max_size=MAX_MEMBERS),
        maybe_us,
        st.lists(operations, max_size=MAX_MEMBERS),
    )
)
def test_there_and_back(evidence: Evidence) -> None:
    """Whatever a stack can know of an answer comes back as it was, to the microsecond."""
    headers = dict(encode(evidence))
    assert all(text.isascii() and text.isprintable() for text in headers.values())
    assert decode(headers) == evidence


@pytest.mark.parametrize(
    ("lookup", "member"),
    [
        (Lookup("attribution", Layer.L1), "L1; hit; detail=attribution"),
        (Lookup("attribution", Layer.KV), "KV; hit; detail=attribution"),
        (Lookup("attribution", Layer.L1, True), "L1; hit; detail=attribution; negative"),
        (Lookup("attribution", Layer.KV, False, True), "KV; hit; detail=attribution; stale"),
        (Lookup("attribution", Layer.MISS), "KV; fwd=miss; detail=attribution"),
        (Lookup("attribution", Layer.JOINED), "KV; fwd=miss; collapsed; detail=attribution"),
    ],
)
def test_members_are_those_of_the_standard(lookup: Lookup, member: str) -> None:
    """RFC 9211: ``hit``, or ``fwd`` with its reason, and ``collapsed`` for a joined request."""
    assert encode(Evidence([lookup])) == [("cache-status", member)]


def test_server_timing_in_milliseconds() -> None:
    """One metric a call with what the database said, one a KV operation, one for CPU time."""
    call = D1Call("insert_event", 12_345, 250, 0, 11_000, True)
    operations = [KVCall("get", 5_000), KVCall("put", 1, failed=True)]
    assert encode(Evidence([], [call, D1Call("a", 1)], 1_500, operations)) == [
        (
            "server-timing",
            "d1;dur=12.345;desc=insert_event;sql=0.250;wait=0.000;rtt=11.000;failed=1, "
            "d1;dur=0.001;desc=a, kv;dur=5.000;desc=get, kv;dur=0.001;desc=put;failed=1, "
            "cpu;dur=1.500",
        )
    ]


def test_no_evidence_no_headers() -> None:
    """Nothing is claimed about an answer of which nothing is known."""
    assert encode(Evidence()) == []
    assert decode({}) == Evidence()


def test_at_most_ten_members() -> None:
    """More look-ups, calls or operations than ten in one answer are left out."""
    evidence = Evidence(
        [Lookup("a", Layer.L1)] * 25, [D1Call("b", 1)] * 25, 1, [KVCall("c", 1)] * 25
    )
    told = decode(dict(encode(evidence)))
    assert [len(each) for each in (told.lookups, told.d1, told.kv)] == [MAX_MEMBERS] * 3


pieces = st.sampled_from(
    ["hit", "fwd", "=", ";", ",", '"', "\\", " ", "dur", "d1", "kv", "cpu", "nan", "inf", "1e999",
     "-1", "detail", "negative", "L1", "KV", "\t", "\n", "\x00", "\u00e9"]
)  # fmt: skip
hostile = st.text(max_size=200) | st.lists(pieces, max_size=60).map("".join)


@given(hostile, hostile)
def test_hostile_headers_never_raise(cache_status: str, server_timing: str) -> None:
    """Anything at all is read; what is understood is plain and finite."""
    evidence = decode({"cache-status": cache_status, "server-timing": server_timing})
    assert all(isinstance(lookup.layer, Layer) for lookup in evidence.lookups)
    assert all(0 <= call.total_us <= 10**12 for call in evidence.d1)
    assert all(0 <= operation.total_us <= 10**12 for operation in evidence.kv)
    assert evidence.cpu_us is None or 0 <= evidence.cpu_us <= 10**12


@pytest.mark.parametrize("part", ['"a\\', '\\"', '"', '"\\', "a;", "=,", '"";'])
def test_the_longest_hostile_header_is_read_in_one_pass(part: str) -> None:
    """Quotes that never close used to be looked for again and again, a second for 8 KiB.

    No clock here: with a pass for each quote these tests would take ten seconds together.
    """
    header = (part * MAX_HEADER_CHARS)[:MAX_HEADER_CHARS]
    for _ in range(3):
        decode({"cache-status": header, "server-timing": header})
    assert decode({"cache-status": header + "L1; hit"}) == Evidence()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"L1";hit;detail="a"', [Lookup("a", Layer.L1)]),
        ("l1 ; HIT ; Detail=a", [Lookup("a", Layer.L1)]),
        ("L1;hit;ttl=30;key=x,KV;fwd=stale", [Lookup("", Layer.L1), Lookup("", Layer.MISS)]),
        ("ExampleCache; hit", [Lookup("", Layer.UNKNOWN)]),
        ('CDN; detail="a, b; hit"', []),
        ("CDN", []),
        (" , ;hit, ", [Lookup("", Layer.UNKNOWN)][:0]),
    ],
)
def test_cache_status_of_others(header: str, expected: list[Lookup]) -> None:
    """Another cache's members are no evidence of ours; quotes and letter case do not matter."""
    assert decode({"cache-status": header}).lookups == expected


@pytest.mark.parametrize("duration", ["", "abc", "nan", "inf", "-1", "1e12", "0x1"])
def test_a_duration_that_is_none_is_no_evidence(duration: str) -> None:
    """Not a number, negative or beyond all reason: left out."""
    header = f"d1;dur={duration}, cpu;dur={duration}, kv;dur={duration}, d1, kv"
    assert decode({"server-timing": header}) == Evidence()
