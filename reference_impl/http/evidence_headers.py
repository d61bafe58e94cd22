"""Evidence as two standard response headers, and back.

``Cache-Status`` (RFC 9211) has one member a look-up; ``Server-Timing`` (W3C) has one metric a D1
call, one a KV operation and one for CPU time. Both are read tolerantly: another deployment may
send more than this, and what cannot be understood is no evidence rather than an error.

| look-up | member |
|---|---|
| answered by memory | ``L1; hit; detail=attribution`` |
| answered by KV | ``KV; hit; detail=attribution`` |
| a cached "not there" | the same with ``; negative`` |
| a hit past its life, being renewed | the same with ``; stale`` |
| fetched from D1 | ``KV; fwd=miss; detail=attribution`` |
| joined another's fetch | ``KV; fwd=miss; collapsed; detail=attribution`` |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reference_impl.messages import D1Call, Evidence, KVCall, Layer, Lookup

MAX_MEMBERS = 10
"""Members a header may carry; more look-ups or calls than this in one answer are left out."""

MAX_HEADER_CHARS = 8192
"""A longer header is not read at all: it did not come from a stack like this one."""

_PART = re.compile(r'(?:[^",;]|"(?:[^"\\]|\\.)*+"?)+|[,;]')
"""A quote that is never closed runs to the end: to look for an end from each would be quadratic."""


def encode(evidence: Evidence) -> list[tuple[str, str]]:
    """The headers that tell how an answer was made; a part with no evidence has no header."""
    headers = []
    if evidence.lookups:
        members = ", ".join(_cache_member(lookup) for lookup in evidence.lookups[:MAX_MEMBERS])
        headers.append(("cache-status", members))
    metrics = [_d1_metric(call) for call in evidence.d1[:MAX_MEMBERS]]
    metrics += [_kv_metric(call) for call in evidence.kv[:MAX_MEMBERS]]
    if evidence.cpu_us is not None:
        metrics.append(f"cpu;dur={_ms(evidence.cpu_us)}")
    if metrics:
        headers.append(("server-timing", ", ".join(metrics)))
    return headers


def decode(headers: Mapping[str, str]) -> Evidence:
    """The evidence in an answer's headers, whose names must be in lower case."""
    evidence = Evidence()
    for name, params in _members(headers.get("cache-status", "")):
        if "hit" in params or "fwd" in params:
            evidence.lookups.append(_lookup(name, params))
    for name, params in _members(headers.get("server-timing", "")):
        duration = _us(params.get("dur"))
        if name == "cpu":
            evidence.cpu_us = duration
        elif name == "d1" and duration is not None:
            evidence.d1.append(_d1_call(duration, params))
        elif name == "kv" and duration is not None:
            evidence.kv.append(KVCall(params.get("desc", ""), duration, "failed" in params))
    return evidence


def _cache_member(lookup: Lookup) -> str:
    detail = f"; detail={lookup.cache_type}"
    detail += ("; negative" if lookup.negative else "") + ("; stale" if lookup.stale else "")
    if lookup.layer is Layer.L1:
        return "L1; hit" + detail
    if lookup.layer is Layer.KV:
        return "KV; hit" + detail
    return "KV; fwd=miss" + ("; collapsed" if lookup.layer is Layer.JOINED else "") + detail


def _lookup(name: str, params: Mapping[str, str]) -> Lookup:
    layer = Layer.UNKNOWN
    if "hit" in params:
        layer = {"l1": Layer.L1, "kv": Layer.KV}.get(name, Layer.UNKNOWN)
    elif "fwd" in params:
        layer = Layer.JOINED if "collapsed" in params else Layer.MISS
    return Lookup(params.get("detail", ""), layer, "negative" in params, "stale" in params)


def _d1_metric(call: D1Call) -> str:
    parts = [f"d1;dur={_ms(call.total_us)};desc={call.name}"]
    for name, value in (("sql", call.sql_us), ("wait", call.wait_us), ("rtt", call.round_trip_us)):
        if value is not None:
            parts.append(f"{name}={_ms(value)}")
    if call.failed:
        parts.append("failed=1")
    return ";".join(parts)


def _kv_metric(call: KVCall) -> str:
    failed = ";failed=1" if call.failed else ""
    return f"kv;dur={_ms(call.total_us)};desc={call.operation}{failed}"


def _d1_call(total_us: int, params: Mapping[str, str]) -> D1Call:
    return D1Call(
        params.get("desc", ""),
        total_us,
        _us(params.get("sql")),
        _us(params.get("wait")),
        _us(params.get("rtt")),
        "failed" in params,
    )


def _members(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each member of a list header: its name and its parameters, names in lower case."""
    if not header or len(header) > MAX_HEADER_CHARS:
        return
    name, params = "", dict[str, str]()
    for part in [*_PART.findall(header), ","]:
        text = part.strip()
        if part == ",":
            if name:
                yield name, params
            name, params = "", {}
        elif text and part != ";":
            if not name:
                name = text.strip('"').lower()
            else:
                key, _, value = text.partition("=")
                params[key.strip().lower()] = value.strip().strip('"')


def _ms(us: int) -> str:
    return f"{us / 1000:.3f}"


def _us(text: str | None) -> int | None:
    """Milliseconds as text to microseconds; ``None`` for what is no finite number of them."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return round(value * 1000) if 0 <= value < 1e9 else None
