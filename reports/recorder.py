"""The one recorder: both worlds hand it what happened, and it counts what the verdict needs.

It sits on the simulator's hot path. So a sample is an append to a plain list, and the lists go
into histograms 4096 requests at a time, where a value costs some 15 ns instead of 900.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter

from reference_impl.messages import HITS, D1Call, Evidence, Layer, Lookup
from reference_impl.profiling.hdr import Histogram
from reports.record import ROUTES, Unit, Window

__all__ = ["Recorder", "Window"]

_FLUSH_EVERY = 4096

_lookup_key = attrgetter("cache_type", "layer", "negative", "stale")


class Recorder:
    """Counts one run into one :class:`Unit` a block of the window.

    A sample belongs to the window, and to the block, of its intended start; whatever started
    outside the window is ignored. A simulation uses one recorder with one block for each
    replication, a load test one recorder with several blocks.
    """

    def __init__(self, window: Window, *, blocks: int = 1, cache_types: Sequence[str]) -> None:
        """Raises ``ValueError`` unless the window has a length and ``blocks`` is at least 1."""
        if window.end_us <= window.start_us or blocks < 1:
            raise ValueError(f"nothing fits into {blocks} blocks of {window}")
        self._start_us = window.start_us
        self._length_us = window.end_us - window.start_us
        self._blocks = [_Block(tuple(cache_types)) for _ in range(blocks)]
        self._block_count = blocks
        self._memory_max_bytes: int | None = None

    def request(
        self,
        route: str,
        intended_us: int,
        actual_us: int,
        end_us: int,
        failure: str | None,
        evidence: Evidence,
    ) -> None:
        """Count one request to ``route`` ("tracking" or "attribution").

        ``failure`` is a short reason ("timeout", "status 500", "unfinished") or ``None``; a failed
        request counts as slower than any limit, so its end is not used. What it did to the cache
        and to D1 before it failed is counted all the same.
        """
        offset_us = intended_us - self._start_us
        if not 0 <= offset_us < self._length_us:
            return
        block = self._blocks[offset_us * self._block_count // self._length_us]
        if failure is None:
            intended, actual = block.latency[route]
            intended.append(end_us - intended_us)
            actual.append(end_us - actual_us)
        else:
            block.fail(route, failure)
        block.lookups += evidence.lookups
        block.d1 += evidence.d1
        if evidence.cpu_us is not None:
            block.cpu.append(evidence.cpu_us)
        block.pending += 1
        if block.pending >= _FLUSH_EVERY:
            block.flush()

    def note(self, intended_us: int, name: str) -> None:
        """Count one thing more about a request that was to start then, such as ``city.FRA``."""
        if block := self._block_at(intended_us):
            block.counts[name] += 1

    def consumer_d1(self, at_us: int, call: D1Call) -> None:
        """Count one statement or batch that the queue's consumer asked of D1 at ``at_us``."""
        if block := self._block_at(at_us):
            block.sample_d1("d1.consumer", call)

    def batch(self, start_us: int, handling_us: int, failed: bool = False) -> None:
        """Count one queue batch: when its handler started, and how long until acknowledgement."""
        if block := self._block_at(start_us):
            block.sample("queue.handling", None if failed else handling_us)

    def stored(self, accepted_us: int, stored_us: int) -> None:
        """Count one event's way from its acceptance by the queue until its effect was stored."""
        if block := self._block_at(accepted_us):
            block.sample("queue.accepted_to_stored", stored_us - accepted_us)

    def stale(self, asked_us: int, age_us: int) -> None:
        """Count one answer that told a state which had been superseded for ``age_us``."""
        if block := self._block_at(asked_us):
            block.sample("staleness.age", age_us)

    def memory(self, bytes_: int) -> None:
        """Take note of the memory of one isolate; the largest of the whole run is kept."""
        self._memory_max_bytes = max(bytes_, self._memory_max_bytes or 0)
        self._open_block().counts["memory"] += 1

    def merge_histogram(self, series: str, histogram: Histogram, failed: int = 0) -> None:
        """Add a series that somebody else counted over the window (a server's statistics).

        It cannot be cut into blocks any more and goes to the first one.
        """
        block = self._open_block()
        block.series[series].add(histogram)
        block.failed[series] += failed

    def merge_counts(self, counts: Mapping[str, int]) -> None:
        """Add what somebody else counted over the window; it goes to the first block."""
        self._open_block().counts.update(counts)

    def merge_lookups(self, cache_type: str, layer: Layer, count: int) -> None:
        """Add look-ups that somebody else counted over the window; they go to the first block."""
        self._open_block().count_lookups(cache_type, layer, False, False, count)

    def finish(self) -> list[Unit]:
        """The counts, one unit a block. A sample that comes later is ignored.

        (A coroutine that the end of a run wakes up may still try to record one.)
        """
        units = self.units()
        self._blocks, self._length_us = [], 0
        return units

    def units(self) -> list[Unit]:
        """The counts so far, one unit a block. Their histograms go on counting."""
        return [self.unit(index) for index in range(len(self._blocks))]

    def unit(self, index: int) -> Unit:
        """The counts of one block so far."""
        return self._blocks[index].unit(self._memory_max_bytes)

    def _block_at(self, at_us: int) -> _Block | None:
        offset_us = at_us - self._start_us
        if not 0 <= offset_us < self._length_us:
            return None
        return self._blocks[offset_us * self._block_count // self._length_us]

    def _open_block(self) -> _Block:
        if not self._blocks:
            raise RuntimeError("the recorder has been finished")
        return self._blocks[0]


class _Block:
    """What falls into one block: lists that are appended to, histograms and counts behind them."""

    __slots__ = (
        "cache_types", "counts", "cpu", "d1", "failed", "latency", "lists", "lookups", "pending",
        "series",
    )  # fmt: skip

    def __init__(self, cache_types: tuple[str, ...]) -> None:
        self.cache_types = cache_types
        self.pending = 0
        self.lists: defaultdict[str, list[int]] = defaultdict(list)
        self.latency = {
            route: (
                self.lists[f"latency.{route}.intended"],
                self.lists[f"latency.{route}.actual"],
            )
            for route in ROUTES
        }
        self.cpu = self.lists["cpu"]
        self.lookups: list[Lookup] = []
        self.d1: list[D1Call] = []
        self.series: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.failed: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def fail(self, route: str, reason: str) -> None:
        self.failed[f"latency.{route}.intended"] += 1
        self.failed[f"latency.{route}.actual"] += 1
        self.counts["errors.part"] += 1
        self.counts[f"failure.{reason}"] += 1

    def sample(self, series: str, value_us: int | None) -> None:
        """One value of a series that is off the hot path; ``None`` is a failed one."""
        if value_us is None:
            self.failed[series] += 1
            return
        values = self.lists[series]
        values.append(value_us)
        if len(values) >= _FLUSH_EVERY:
            self._count(series, values)

    def sample_d1(self, series: str, call: D1Call) -> None:
        self.sample(series, None if call.failed else call.total_us)
        if call.sql_us is not None:
            self.sample(f"{series}.sql", call.sql_us)
        if call.wait_us is not None:
            self.sample(f"{series}.wait", call.wait_us)
        if call.round_trip_us is not None:
            self.sample(f"{series}.round_trip", call.round_trip_us)

    def flush(self) -> None:
        """Move what the lists hold into histograms and counts."""
        for call in self.d1:
            self.sample_d1("d1.request", call)
        self.d1.clear()
        for series, values in self.lists.items():
            self._count(series, values)
        for kind, count in Counter(map(_lookup_key, self.lookups)).items():
            self.count_lookups(*kind, count)
        self.lookups.clear()
        self.pending = 0

    def unit(self, memory_max_bytes: int | None) -> Unit:
        self.flush()
        self._count_requests()
        return Unit(
            {name: self.series[name] for name in sorted(self.series) if self.series[name].count},
            {name: self.failed[name] for name in sorted(self.failed) if self.failed[name]},
            {name: self.counts[name] for name in sorted(self.counts) if self.counts[name]},
            memory_max_bytes,
        )

    def _count(self, series: str, values: list[int]) -> None:
        if values:
            self.series[series].record_many(values)
            values.clear()  # not a new list: `latency` and `cpu` hold on to this one

    def count_lookups(
        self, cache_type: str, layer: Layer, negative: bool, stale: bool, count: int
    ) -> None:
        row = f"cache.{cache_type}.{layer}"
        self.counts[row] += count
        if negative:
            self.counts[f"{row}.negative"] += count
        if stale:
            self.counts[f"{row}.stale"] += count
        if cache_type not in self.cache_types:
            return
        self.counts["cache.total"] += count
        if layer in HITS:
            self.counts["cache.part"] += count
        if layer == Layer.UNKNOWN:
            self.counts["cache.unknown"] += count

    def _count_requests(self) -> None:
        for route in ROUTES:
            series = f"latency.{route}.intended"
            self.counts[f"requests.{route}"] = self.series[series].count + self.failed[series]
        self.counts["errors.total"] = sum(self.counts[f"requests.{route}"] for route in ROUTES)
