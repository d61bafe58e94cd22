"""A dull reader of HdrHistogram logs, from the format's description and with no help of hdrh.

The V2 payload: big-endian cookie, length, normalising offset, digits, lowest, highest (64 bit),
ratio (double), then counts as ZigZag LEB128, a negative one standing for so many zeros.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from typing import NamedTuple

COMPRESSED, V2 = 0x1C849314, 0x1C849313


class Interval(NamedTuple):
    """One line: its tag, its times in seconds, its largest value, and value -> count."""

    tag: str
    start_s: float
    length_s: float
    largest: float
    counts: Counter[int]


def intervals(text: str) -> list[Interval]:
    """All lines of a log that are neither comment nor legend."""
    found = []
    for line in text.splitlines():
        if line.startswith(("#", '"')):
            continue
        tag = ""
        if line.startswith("Tag="):
            tag, _, line = line[4:].partition(",")
        start, length, largest, blob = line.split(",")
        found.append(Interval(tag, float(start), float(length), float(largest), counts_of(blob)))
    return found


def counts_of(blob: str) -> Counter[int]:
    """How often each value (the lowest one of its counter) was counted."""
    raw = base64.b64decode(blob)
    cookie, length = struct.unpack(">II", raw[:8])
    assert cookie == COMPRESSED
    payload = zlib.decompress(raw[8 : 8 + length])
    cookie, size, _offset, digits, lowest, _highest, _ratio = struct.unpack(
        ">IIIIqqd", payload[:40]
    )
    assert (cookie, digits, lowest) == (V2, 3, 1)
    counts: Counter[int] = Counter()
    index = 0
    for number in zigzags(payload[40 : 40 + size]):
        if number < 0:
            index -= number
        else:
            counts[value_at(index)] += number
            index += 1
    return +counts


def zigzags(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        value = shift = 0
        for _ in range(9):
            byte = data[at]
            at += 1
            last = shift == 56
            value |= (byte if last else byte & 0x7F) << shift
            shift += 7
            if last or not byte & 0x80:
                break
        numbers.append((value >> 1) ^ -(value & 1))
    return numbers


def value_at(index: int) -> int:
    """2,048 counters for the first power of two that needs them all, then 1,024 each."""
    if index < 2048:
        return index
    bucket, step = divmod(index - 2048, 1024)
    return (1024 + step) << (bucket + 1)
