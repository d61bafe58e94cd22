"""What a deployment knows of its own latency: bounded, in constant time, failures counted.

Fed once an invocation from its evidence, so every endpoint has its percentiles without anybody
wiring it. Durations go into histograms of fixed size, a total since the start and a window of the
last minute or two; nothing grows with traffic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from reference_impl.messages import HITS, D1Call, Evidence, Layer
from reference_impl.profiling.hdr import Histogram

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
WINDOW_US = 60_000_000
MAX_SERIES = 200
"""Names beyond these are counted under ``other``: an endpoint per attacker is no endpoint."""

UNANSWERED = "unanswered"
"""The route of a request that ended in an error of the program."""

SLOW_KEPT = 100
LINES_A_WINDOW = 10
"""Log lines of one kind and level in a window; the next one tells how many were left out."""

Log = Callable[[Mapping[str, Any]], None]
"""Takes one structured line."""


class Threshold(NamedTuple):
    """From when on a duration is worth a line, in microseconds."""

    warning_us: int
    critical_us: int


THRESHOLDS: Mapping[str, Threshold] = {
    "request": Threshold(100_000, 200_000),
    "query": Threshold(50_000, 100_000),
    "kv": Threshold(10_000, 20_000),
    "external": Threshold(500_000, 2_000_000),
}
"""By the first word of a series; from the specification of the stack (latency profiler)."""

LEAST_WARNING_US = min(threshold.warning_us for threshold in THRESHOLDS.values())

AT_ONCE = 256
"""Durations that wait to be counted together, which is some fifty times faster a value."""


def discard(_line: Mapping[str, Any]) -> None:
    """A log that keeps nothing."""


class LatencyProfiler:
    """Histograms by name: ``request.<route>``, ``query.<name>``, ``kv.<operation>``,
    ``queue.handling``, ``queue.accepted_to_stored``, ``external.<api>``, ``staleness.age``,
    ``cpu``, and the D1 calls by who made them: ``d1.request``, ``d1.consumer``, and
    ``d1.behind`` an answer."""

    def __init__(
        self, now_us: Callable[[], int], log: Log = discard, window_us: int = WINDOW_US
    ) -> None:
        self._now_us = now_us
        self._window_us = window_us
        self._series: dict[str, _Series] = {}
        self._lookups: dict[str, dict[str, int]] = {}
        self._watch = _Watch(log)
        self._window_end_us = now_us() + window_us

    def request(self, route: str, status: int, duration_us: int, evidence: Evidence) -> None:
        """One finished request; a status of 500 or more counts as failed, with its time.

        One that raised and has no answer is reported as ``UNANSWERED`` with 500.
        """
        self._turn()
        self._record(f"request.{route}", duration_us, failed=status >= 500)
        for lookup in evidence.lookups:
            layers = self._lookups.get(lookup.cache_type)
            if layers is None:
                layers = self._lookups[lookup.cache_type] = dict.fromkeys(Layer, 0)
            layers[lookup.layer] += 1
        self._calls("d1.request", evidence)
        if evidence.cpu_us is not None:
            self._record("cpu", evidence.cpu_us)

    def batch(self, handling_us: int, evidence: Evidence, *, failed: bool) -> None:
        """One batch of the queue, from the consumer's start to its acknowledgement."""
        self._turn()
        self._record("queue.handling", handling_us, failed=failed)
        self._calls("d1.consumer", evidence)

    def behind(self, evidence: Evidence) -> None:
        """What was done for a request after its answer."""
        self._turn()
        self._calls("d1.behind", evidence)

    def stored(self, delay_us: int) -> None:
        """One message, from its acceptance to the end of its handling."""
        self._turn()
        self._record("queue.accepted_to_stored", delay_us)

    def stale(self, age_us: int) -> None:
        """One answer that told a state of so long ago; where somebody can know (an emulation)."""
        self._turn()
        self._record("staleness.age", age_us)

    def external(self, api: str, duration_us: int, *, failed: bool = False) -> None:
        """One call of somebody else's interface."""
        self._turn()
        self._record(f"external.{api}", duration_us, failed=failed)

    def totals(self) -> dict[str, tuple[Histogram, int]]:
        """Each series' histogram since the start, to be read only, and how many of it failed."""
        return {name: (s.total, s.failed) for name, s in sorted(self._series.items())}

    def cumulative(self) -> dict[str, Any]:
        """Every histogram and every count of failures since the start, for window differences."""
        return {
            "cumulative": {name: s.total.to_json() for name, s in sorted(self._series.items())},
            "failed": {name: s.failed for name, s in sorted(self._series.items()) if s.failed},
        }

    def cache_stats(self) -> dict[str, Any]:
        """Look-ups by cache type and layer, and the hit ratio of L1 and KV together."""
        total = dict.fromkeys(Layer, 0)
        for layers in self._lookups.values():
            for layer, count in layers.items():
                total[Layer(layer)] += count
        return {
            "by_type": {
                name: _with_ratio(layers) for name, layers in sorted(self._lookups.items())
            },
            "all": _with_ratio(total),
        }

    def query_stats(self) -> dict[str, Any]:
        """D1 calls by name and by who asked, and the slowest lately."""
        return {
            **self._summaries("d1."),
            **self._summaries("query."),
            "slow_queries": list(self._watch.slow),
        }

    def latency_summary(self) -> dict[str, Any]:
        """P50, P95, P99 and maximum of every series in ms: since the start, and in the window."""
        return self._summaries("")

    def _summaries(self, prefix: str) -> dict[str, Any]:
        self._turn()
        return {
            name: series.summary()
            for name, series in sorted(self._series.items())
            if name.startswith(prefix)
        }

    def _calls(self, asked_by: str, evidence: Evidence) -> None:
        for call in evidence.d1:
            self._record(asked_by, call.total_us, failed=call.failed)
            self._record(f"query.{call.name}", call.total_us, failed=call.failed)
            self._watch.query(call)
        for operation in evidence.kv:
            self._record(f"kv.{operation.operation}", operation.total_us, failed=operation.failed)

    def _record(self, name: str, value_us: int, *, failed: bool = False) -> None:
        series = self._series.get(name)
        if series is None:
            counted_as = name if len(self._series) < MAX_SERIES else "other"
            series = self._series.setdefault(counted_as, _Series())
        series.record(value_us, failed=failed)
        if value_us > LEAST_WARNING_US:
            self._watch.see(name, value_us)

    def _turn(self) -> None:
        """Begin a new window when the present one is over."""
        now_us = self._now_us()
        if now_us < self._window_end_us:
            return
        idle = now_us >= self._window_end_us + self._window_us
        for series in self._series.values():
            series.turn(idle=idle)
        self._watch.turn()
        self._window_end_us = now_us + self._window_us


class _Series:
    """One name's durations: all, and those of the present window and the one before."""

    __slots__ = ("_before", "_earlier", "_fresh", "_present", "failed")

    def __init__(self) -> None:
        self._fresh: list[int] = []
        self._earlier = Histogram()
        self._present = Histogram()
        self._before = Histogram()
        self.failed = 0

    def record(self, value_us: int, *, failed: bool) -> None:
        self._fresh.append(value_us)
        self.failed += failed
        if len(self._fresh) >= AT_ONCE:
            self._count()

    @property
    def total(self) -> Histogram:
        """Everything since the start; to add it up when asked halves the cost of a record."""
        self._count()
        total = Histogram()
        total.add(self._earlier)
        total.add(self._present)
        return total

    def turn(self, *, idle: bool) -> None:
        self._count()
        self._earlier.add(self._present)
        self._before = Histogram() if idle else self._present
        self._present = Histogram()

    def summary(self) -> dict[str, Any]:
        self._count()
        window = Histogram()
        window.add(self._before)
        window.add(self._present)
        return {**_numbers(self.total), "failed": self.failed, "window": _numbers(window)}

    def _count(self) -> None:
        self._present.record_many(self._fresh)
        self._fresh.clear()


class _Watch:
    """Tells of what was slow, so many times a window; keeps the slowest statements lately."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lines: dict[tuple[str, str], int] = {}
        self.slow: deque[dict[str, Any]] = deque(maxlen=SLOW_KEPT)

    def see(self, name: str, value_us: int) -> None:
        kind = name.partition(".")[0]
        threshold = THRESHOLDS.get(kind)
        if threshold is None or value_us <= threshold.warning_us:
            return
        level = "critical" if value_us > threshold.critical_us else "warning"
        said = self._lines[kind, level] = self._lines.get((kind, level), 0) + 1
        if said <= LINES_A_WINDOW:
            self._log({"level": level, "what": name, "ms": value_us / 1000})

    def query(self, call: D1Call) -> None:
        if call.total_us > THRESHOLDS["query"].critical_us:
            self.slow.append(
                {"query": call.name, "ms": call.total_us / 1000, "failed": call.failed}
            )

    def turn(self) -> None:
        for (kind, level), said in self._lines.items():
            if said > LINES_A_WINDOW:
                left_out = said - LINES_A_WINDOW
                self._log({"level": level, "what": kind, "left_out": left_out})
        self._lines.clear()


def _with_ratio(layers: Mapping[Layer, int] | Mapping[str, int]) -> dict[str, Any]:
    lookups = sum(layers.values())
    hits = sum(count for layer, count in layers.items() if layer in HITS)
    counts = {str(layer): count for layer, count in layers.items()}
    return {**counts, "lookups": lookups, "hit_ratio": hits / lookups if lookups else None}


def _numbers(histogram: Histogram) -> dict[str, Any]:
    values: Iterable[tuple[str, int | None]] = (
        *((name, histogram.percentile(p)) for name, p in PERCENTILES.items()),
        ("max", histogram.max_us),
    )
    return {"count": histogram.count} | {
        name: None if us is None else us / 1000 for name, us in values
    }
