"""The one wrapper around ``hdrh``: a histogram of microseconds that loses nothing silently.

Why not ``HdrHistogram`` itself (0.10.8): it drops values out of range and says so only by a
``False``, answers 0 for every percentile of an empty histogram, rounds ranks half up where Java
rounds up, finds a percentile by a Python loop over 23,552 counters, forgets exact minimum and
maximum when encoded, and cannot be pickled. So the counters live here, in a numpy array laid out
as HdrHistogram lays them out, and ``hdrh`` only writes and reads the V2 encoding, which Java, C,
Go, Rust and JavaScript read too.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Self

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

TOP_US = 3_600_000_000
"""The largest value told apart: one hour. Larger ones are counted as it, and as overflow."""

_DIGITS = 3
_HALF_BITS = 10  # 2**10 counters a power of two is what three significant digits need
_HALF = 1 << _HALF_BITS
_MASK = 2 * _HALF - 1
_LENGTH = 23_552  # counters_len of HdrHistogram(1, TOP_US, 3)
_HEADER_BYTES, _COUNTER_BYTES = 40, 9  # of the decompressed V2 payload; 9 bytes at most a counter
_COUNTER_LIMIT = 1 << 48  # all counters at it still add up within 63 bits
_CURVE_POINTS_PER_DECADE = 20


def rank_of(p: float, n: int) -> int:
    """The rank of the ``p`` quantile of ``n`` samples: ceil(p * n), at least 1, counted from 1.

    The product is exact: 0.07 * 100 is rank 7, not 8 as floats would have it.
    Raises ``ValueError`` unless 0 < p <= 1 and n >= 1.
    """
    if not 0 < p <= 1 or n < 1:
        raise ValueError(f"a rank needs 0 < p <= 1 and n >= 1, got p={p} and n={n}")
    return max(1, math.ceil(Fraction(repr(float(p))) * n))


def _index(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counter of each value (1 to ``TOP_US``): its power of two, then its linear step in it."""
    bits = np.frexp((values | _MASK).astype(np.float64))[1].astype(np.int64)
    bucket = bits - (_HALF_BITS + 1)
    return (bucket << _HALF_BITS) + (values >> bucket)


def _index_of(value: int) -> int:
    bucket = (value | _MASK).bit_length() - (_HALF_BITS + 1)
    return (bucket << _HALF_BITS) + (value >> bucket)


def _bounds(index: int) -> tuple[int, int]:
    """The smallest and the largest value that share the counter ``index``."""
    bucket = max((index >> _HALF_BITS) - 1, 0)
    low = (index - (bucket << _HALF_BITS)) << bucket
    return low, low + (1 << bucket) - 1


_TOP_INDEX = _index_of(TOP_US)


class Histogram:
    """Counts of values from 1 us to 1 h, told apart to three significant digits (0.1 %).

    ``count``, ``overflow``, ``min_us``, ``max_us`` and ``sum_us`` are exact and describe the
    values as given, so a histogram of nothing but zeros has ``sum_us`` 0. A negative value (a clock
    set back) counts as 0, and 0 shares the counter of 1. ``min_us`` and ``max_us`` are ``None``
    while it is empty.
    """

    __slots__ = ("_counts", "count", "max_us", "min_us", "overflow", "sum_us")

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(_LENGTH, dtype=np.int64)
        self.count = 0
        self.overflow = 0
        self.min_us: int | None = None
        self.max_us: int | None = None
        self.sum_us = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._exact() == other._exact() and np.array_equal(self._counts, other._counts)

    __hash__ = None  # type: ignore[assignment]  # it changes while it counts

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, min_us={self.min_us}, max_us={self.max_us})"

    def record(self, value_us: int) -> None:
        """Count one value; for many, :meth:`record_many` is some fifty times faster a value."""
        value = max(int(value_us), 0)
        self._counts[_index_of(min(max(value, 1), TOP_US))] += 1
        self._account(1, int(value > TOP_US), value, value, value)

    def record_many(self, values_us: Sequence[int] | NDArray[np.int64]) -> None:
        """Count all of ``values_us``; the same as :meth:`record` for each of them."""
        values = np.maximum(np.asarray(values_us, dtype=np.int64), 0)
        if not values.size:
            return
        index = _index(np.clip(values, 1, TOP_US))
        self._counts += np.bincount(index, minlength=_LENGTH)
        self._account(
            int(values.size),
            int(np.count_nonzero(values > TOP_US)),
            int(values.min()),
            int(values.max()),
            int(values.sum()),
        )

    def add(self, other: Histogram) -> None:
        """Count everything that ``other`` has counted."""
        if other.min_us is None or other.max_us is None:
            return
        self._counts += other._counts
        self._account(other.count, other.overflow, other.min_us, other.max_us, other.sum_us)

    def minus(self, earlier: Histogram) -> Histogram:
        """What was counted since ``earlier``, both being readings of one cumulative histogram.

        Minimum and maximum are then known to the counter's width only. Raises ``ValueError`` if
        ``earlier`` holds something that this one does not (the counters were reset in between).
        """
        difference = Histogram()
        difference._counts = self._counts - earlier._counts
        difference.count = self.count - earlier.count
        difference.overflow = self.overflow - earlier.overflow
        difference.sum_us = self.sum_us - earlier.sum_us
        if difference._counts.min() < 0 or difference.overflow < 0 or difference.sum_us < 0:
            raise ValueError("the earlier histogram is not a prefix of the later one")
        difference._bound_by(self)
        return difference

    def corrected(self, interval_us: int) -> Histogram:
        """What one sample an interval would have shown: an estimate for coordinated omission.

        A sample of v > interval stands for those that nobody could take meanwhile: v - interval,
        v - 2 interval, ... down to the interval (Gil Tene's correction, as
        ``copyCorrectedForCoordinatedOmission`` of HdrHistogram has it). Values are known to their
        counter's width. Raises ``ValueError`` unless the interval is positive.
        """
        if interval_us < 1:
            raise ValueError(f"an interval of {interval_us} us")
        corrected = Histogram()
        corrected.add(self)
        first = _index_of(min(interval_us, TOP_US))
        for index in np.flatnonzero(self._counts[first:]) + first:
            value, count = _bounds(int(index))[1], int(self._counts[index])
            missed = np.arange(value - interval_us, interval_us - 1, -interval_us, dtype=np.int64)
            if missed.size:
                corrected._counts += np.bincount(_index(missed), minlength=_LENGTH) * count
                corrected._account(
                    count * missed.size,
                    0,
                    int(missed[-1]),
                    int(missed[0]),
                    count * int(missed.sum()),
                )
        return corrected

    def value_at_rank(self, rank: int) -> int:
        """The sample of this rank, 1 being the smallest: the top of its counter, never above max.

        Raises ``ValueError`` unless 1 <= rank <= count.
        """
        if self.max_us is None or not 1 <= rank <= self.count:
            raise ValueError(f"rank {rank} of {self.count} samples")
        index = int(np.searchsorted(self._counts.cumsum(), rank))
        return min(_bounds(index)[1], self.max_us)

    def percentile(self, p: float) -> int | None:
        """The sample of rank ceil(p * count), ``p`` in (0, 1]; ``None`` if nothing was counted."""
        return self.value_at_rank(rank_of(p, self.count)) if self.count else None

    def at_most(self, bounds_us: Sequence[int]) -> list[int]:
        """How many values are at most each of the bounds, or share a counter with it."""
        counted = self._counts.cumsum()
        return [int(counted[_index_of(min(bound, TOP_US))]) for bound in bounds_us]

    def curve(self) -> list[tuple[float, int]]:
        """(percentile 0..1, value in us) for plots: 20 points a decade of 1 - p, then the maximum.

        It goes as far towards 1 as the samples carry: to 0.999 for a thousand of them.
        """
        if self.max_us is None:
            return []
        steps = math.floor(math.log10(self.count) * _CURVE_POINTS_PER_DECADE)
        tails = 10.0 ** (-np.arange(1, steps + 1) / _CURVE_POINTS_PER_DECADE)
        percentiles = (1 - tails).tolist()
        ranks = [rank_of(p, self.count) for p in percentiles]
        indexes = np.searchsorted(self._counts.cumsum(), ranks)
        values = [min(_bounds(int(index))[1], self.max_us) for index in indexes]
        return [*zip(percentiles, values, strict=True), (1.0, self.max_us)]

    def to_json(self) -> dict[str, Any]:
        """The V2 encoding (base64) and, beside it, what that encoding does not keep exactly."""
        return {"v2": self.v2(), **self._exact()}

    def v2(self) -> str:
        """The V2 encoding (base64): byte for byte that of ``HdrHistogram`` after one
        ``record_value`` for each value."""
        hdr = HdrHistogram(1, TOP_US, _DIGITS)
        np.frombuffer(hdr.counts, dtype=np.uint64)[:] = self._counts
        hdr.total_count = self.count
        hdr.max_value = min(max(self.max_us or 0, 1), TOP_US)
        return str(hdr.encode().decode("ascii"))

    @classmethod
    def from_v2(cls, blob: str) -> Self:
        """The histogram in a V2 blob, without what such a blob does not keep.

        Minimum and maximum are then the ends of their counters, the sum is that of the counters'
        middles, and overflow is 0. Raises ``ValueError`` if it is damaged or of another layout.
        """
        self = cls()
        self._counts = _decode(blob)
        used = np.flatnonzero(self._counts)
        if used.size:
            counts = self._counts[used].tolist()
            bounds = [_bounds(int(index)) for index in used]
            self.count = sum(counts)
            self.min_us, self.max_us = bounds[0][0], min(bounds[-1][1], TOP_US)
            middles = ((low + high) // 2 for low, high in bounds)
            total = sum(n * middle for n, middle in zip(counts, middles, strict=True))
            self.sum_us = min(max(total, self.min_us * self.count), self.max_us * self.count)
        return self

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The histogram that :meth:`to_json` wrote.

        Raises ``ValueError`` if it is damaged, of another layout, or contradicts itself.
        """
        self = cls()
        try:
            self._counts = _decode(data["v2"])
            for name in ("count", "overflow", "min_us", "max_us", "sum_us"):
                setattr(self, name, data[name])
            self._check()
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a histogram: {error!r}") from error
        return self

    def _exact(self) -> dict[str, int | None]:
        return {
            "count": self.count,
            "overflow": self.overflow,
            "min_us": self.min_us,
            "max_us": self.max_us,
            "sum_us": self.sum_us,
        }

    def _account(self, count: int, overflow: int, low: int, high: int, total: int) -> None:
        self.count += count
        self.overflow += overflow
        self.min_us = low if self.min_us is None else min(self.min_us, low)
        self.max_us = high if self.max_us is None else max(self.max_us, high)
        self.sum_us += total

    def _bound_by(self, whole: Histogram) -> None:
        """Take minimum and maximum from the counters, but not beyond those of ``whole``."""
        used = np.flatnonzero(self._counts)
        if not used.size or whole.min_us is None or whole.max_us is None:
            return
        first, last = int(used[0]), int(used[-1])
        self.min_us = max(_bounds(first)[0] if first > 1 else 0, whole.min_us)
        top = whole.max_us if self.overflow else min(_bounds(last)[1], TOP_US)
        self.max_us = min(top, whole.max_us)

    def _check(self) -> None:
        """Raise ``ValueError`` unless the exact numbers and the counters tell the same story."""
        exact = self._exact()
        for name, value in exact.items():
            if value is None and name in ("min_us", "max_us") and not self.count:
                continue
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} is {value!r}, expected an integer of 0 or more")
        if self.count != int(self._counts.sum()):
            raise ValueError(f"count is {self.count}, its counters hold {self._counts.sum()}")
        if not self.count:
            if self != Histogram():
                raise ValueError("an empty histogram has a minimum, a maximum, a sum or overflow")
            return
        assert self.min_us is not None  # both checked above
        assert self.max_us is not None
        used = np.flatnonzero(self._counts)
        ends = [_index_of(min(max(end, 1), TOP_US)) for end in (self.min_us, self.max_us)]
        mean_fits = self.min_us * self.count <= self.sum_us <= self.max_us * self.count
        overflow_fits = (self.overflow > 0) == (self.max_us > TOP_US)
        top_fits = self.overflow <= int(self._counts[_TOP_INDEX])
        if ends != [used[0], used[-1]] or not (mean_fits and overflow_fits and top_fits):
            raise ValueError("minimum, maximum, sum and counters contradict each other")


def _decode(blob: str) -> NDArray[np.int64]:
    """The counters of a V2 blob of our layout; ``ValueError`` if it is anything else."""
    try:
        _refuse_bomb(base64.b64decode(blob, validate=True))
        hdr = HdrHistogram.decode(blob)
        layout = (
            hdr.lowest_trackable_value,
            hdr.highest_trackable_value,
            hdr.significant_figures,
        )
    except Exception as error:  # hdrh raises classes of its own, of zlib, base64 and C
        raise ValueError(f"not a V2 histogram blob: {error!r}") from error
    if layout != (1, TOP_US, _DIGITS):
        raise ValueError(f"a histogram of another layout: {layout}")
    counts = np.frombuffer(hdr.counts, dtype=np.uint64)
    if counts.max() > _COUNTER_LIMIT:
        raise ValueError("a counter is too large to be true")
    return counts.astype(np.int64)


def _refuse_bomb(raw: bytes) -> None:
    """Refuse a blob that unpacks to more than all counters could take, before hdrh unpacks it."""
    limit = _HEADER_BYTES + _COUNTER_BYTES * _LENGTH
    if len(zlib.decompressobj().decompress(raw[8:], limit + 1)) > limit:
        raise ValueError("the blob unpacks to more than a histogram")
