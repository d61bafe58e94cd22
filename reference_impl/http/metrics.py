"""The profiler's numbers in the OpenMetrics format, for whoever scrapes.

Nothing is counted twice: a scrape reads the same histograms as the statistics do. Buckets end at
the limits of the KPIs, so that a share within a limit can be read off exactly. A value that shares
a counter with a bucket's end counts in it (the counters tell values apart to 0.1 %).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from reference_impl.profiling.hdr import Histogram
from reference_impl.profiling.measured import Measured

_ENCODE, CONTENT_TYPE = choose_encoder("application/openmetrics-text; version=1.0.0")

BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 150, 200, 500, 1000, 2000, 5000, 10_000)

LABELS = {"request": "route", "query": "query", "d1": "asked_by", "kv": "operation",
          "queue": "step", "external": "api", "cpu": "of", "other": "of"}  # fmt: skip
"""By the first word of a series: what the rest of its name is."""


class Metrics:
    """One registry over one deployment; each scrape asks the deployment anew."""

    def __init__(self, deployment: Measured) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Numbers(deployment))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Everything, of the type :data:`CONTENT_TYPE`."""
        return _ENCODE(self._registry)


class _Numbers(Collector):
    def __init__(self, deployment: Measured) -> None:
        self._deployment = deployment

    def collect(self) -> Iterator[Metric]:
        deployment = self._deployment
        yield from _durations(deployment.profiler.totals())
        lookups = CounterMetricFamily(
            "edgekpi_cache_lookups",
            "Look-ups of the cache manager; l1 and kv are hits.",
            labels=["cache_type", "layer"],
        )
        for cache_type, layers in deployment.profiler.cache_stats()["by_type"].items():
            for layer in ("l1", "kv", "miss", "joined", "unknown"):
                lookups.add_metric([cache_type, layer], layers[layer])
        yield lookups
        instance = deployment.instance()
        texts = {name: str(value) for name, value in instance.items()}
        yield InfoMetricFamily("edgekpi_instance", "Whose numbers these are.", value=texts)
        for name, value in _leaves("edgekpi", deployment.statistics()):
            yield GaugeMetricFamily(name, "As in /api/performance/stats.", value=value)

    def describe(self) -> Iterable[Metric]:
        return []


def _durations(totals: Mapping[str, tuple[Histogram, int]]) -> Iterator[Metric]:
    families: dict[str, tuple[HistogramMetricFamily, CounterMetricFamily]] = {}
    for series, (histogram, failed) in totals.items():
        group, _, name = series.partition(".")
        if group not in families:
            label, prefix = LABELS.get(group, "of"), f"edgekpi_{group}"
            families[group] = (
                HistogramMetricFamily(f"{prefix}_seconds", "Since the start.", labels=[label]),
                CounterMetricFamily(f"{prefix}_failed", "Failed, of the same.", labels=[label]),
            )
        durations, failures = families[group]
        durations.add_metric([name or group], _buckets(histogram), histogram.sum_us / 1e6)
        failures.add_metric([name or group], failed)
    for pair in families.values():
        yield from pair


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    counts = histogram.at_most([1000 * bound_ms for bound_ms in BOUNDS_MS])
    ends = [str(bound_ms / 1000) for bound_ms in BOUNDS_MS]
    return [*zip(ends, map(float, counts), strict=True), ("+Inf", float(histogram.count))]


def _leaves(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number in nested data, named by the way to it; what is not known is left out."""
    for name, value in data.items():
        path = f"{prefix}_{name}".replace(".", "_")
        if isinstance(value, Mapping):
            yield from _leaves(path, value)
        elif isinstance(value, int | float):
            yield path, float(value)
