"""What a deployment knows of its own latency: bounded, constant time, failures counted.

Fed once per invocation from its evidence, so the five performance endpoints need no wiring. Every
duration goes into a histogram of fixed size; nothing grows with traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reference_impl.hdr import Histogram
from reference_impl.messages import HITS, D1Call, Evidence, Layer

SLOW_QUERY_US = 100_000
"""A statement or batch that took longer is counted as slow (seed: query threshold, critical)."""

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


class LatencyProfiler:
    """Histograms by name since the start: ``request.<route>``, ``d1.request`` and so on."""

    def __init__(self) -> None:
        self._histograms: dict[str, Histogram] = {}
        self._failed: dict[str, int] = {}
        self._lookups: dict[str, dict[Layer, int]] = {}
        self._slow_queries = 0

    def request(self, route: str, status: int, duration_us: int, evidence: Evidence) -> None:
        """One finished request; a status of 500 or more counts as failed, with its time."""
        self._record(f"request.{route}", duration_us, failed=status >= 500)
        for lookup in evidence.lookups:
            layers = self._lookups.setdefault(lookup.cache_type, dict.fromkeys(Layer, 0))
            layers[lookup.layer] += 1
        self._d1("d1.request", evidence.d1)
        if evidence.cpu_us is not None:
            self._record("cpu", evidence.cpu_us)

    def batch(self, handling_us: int, evidence: Evidence, *, failed: bool) -> None:
        """One batch of the queue, from the consumer's start to its acknowledgement."""
        self._record("queue.handling", handling_us, failed=failed)
        self._d1("d1.consumer", evidence.d1)

    def stored(self, delay_us: int) -> None:
        """One message, from its acceptance to the end of its handling."""
        self._record("queue.accepted_to_stored", delay_us)

    def cumulative(self) -> dict[str, Any]:
        """Every histogram and every count of failures since the start, for window differences."""
        return {
            "cumulative": {name: hist.to_json() for name, hist in sorted(self._histograms.items())},
            "failed": dict(sorted(self._failed.items())),
        }

    def cache_stats(self) -> dict[str, Any]:
        """Look-ups by cache type and layer, and the hit ratio of L1 and KV together."""
        total = dict.fromkeys(Layer, 0)
        for layers in self._lookups.values():
            for layer, count in layers.items():
                total[layer] += count
        return {
            "by_type": {
                name: _with_ratio(layers) for name, layers in sorted(self._lookups.items())
            },
            "all": _with_ratio(total),
        }

    def query_stats(self) -> dict[str, Any]:
        """D1 calls asked for by requests and by the consumer, and how many were slow."""
        names = ("d1.request", "d1.consumer")
        return {**self._summaries(names), "slow_queries": self._slow_queries}

    def latency_summary(self) -> dict[str, Any]:
        """P50, P95, P99 and maximum of every histogram, in milliseconds."""
        return self._summaries(sorted(self._histograms))

    def _summaries(self, names: Iterable[str]) -> dict[str, Any]:
        return {
            name: _summary(self._histograms.get(name, Histogram()), self._failed.get(name, 0))
            for name in names
        }

    def _d1(self, name: str, calls: Iterable[D1Call]) -> None:
        for call in calls:
            self._slow_queries += call.total_us > SLOW_QUERY_US
            self._record(name, call.total_us, failed=call.failed)

    def _record(self, name: str, value_us: int, *, failed: bool = False) -> None:
        histogram = self._histograms.get(name)
        if histogram is None:
            histogram = self._histograms[name] = Histogram()
        histogram.record(value_us)
        if failed:
            self._failed[name] = self._failed.get(name, 0) + 1


def _with_ratio(layers: dict[Layer, int]) -> dict[str, Any]:
    lookups = sum(layers.values())
    hits = sum(count for layer, count in layers.items() if layer in HITS)
    counts = {str(layer): count for layer, count in layers.items()}
    return {**counts, "lookups": lookups, "hit_ratio": hits / lookups if lookups else None}


def _summary(histogram: Histogram, failed: int) -> dict[str, Any]:
    values = {name: _ms(histogram.percentile(p)) for name, p in PERCENTILES.items()}
    return {"count": histogram.count, "failed": failed, **values, "max": _ms(histogram.max_us)}


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000
