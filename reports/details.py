"""The rows beneath the KPIs: what explains them, and is not judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reference_impl.messages import HITS, Layer
from reports import wording
from reports.intervals import Sample
from reports.kpis import STALENESS, UNKNOWN_AGE, P
from reports.readings import BYTES_PER_MIB, US_PER, US_PER_MS
from reports.record import ROUTES, RunRecord
from reports.stability import loads, unstable

TIMINGS = (
    ("Tracking, from the actual start", "latency.tracking.actual"),
    ("Attribution, from the actual start", "latency.attribution.actual"),
    ("Tracking, corrected (estimate)", "latency.tracking.corrected"),
    ("Attribution, corrected (estimate)", "latency.attribution.corrected"),
    ("D1 query, SQL only", "d1.request.sql"),
    ("D1 query, wait for the single thread", "d1.request.wait"),
    ("D1 query, round trip", "d1.request.round_trip"),
    ("D1 query of the queue's consumer", "d1.consumer"),
    ("Queue, accepted to stored", "queue.accepted_to_stored"),
)
"""What is timed beside the KPIs: the row's title, and the series it reads."""

COUNTED = (
    ("KV reads from the node's memory", "kv.reads.memory"),
    ("KV reads from the node's copy", "kv.reads.node"),
    ("KV reads from the region's copy", "kv.reads.regional"),
    ("KV reads from the central store", "kv.reads.central"),
    ("KV reads that missed a write of their own node", "kv.own_writes_unseen"),
    ("KV writes", "kv.writes"),
    ("KV writes refused (429)", "kv.writes_refused"),
    ("D1 connections lost", "d1.lost"),
    ("D1 reads asked again", "d1.retried"),
    ("Isolates started cold", "isolates.cold_starts"),
    ("Isolates over their memory", "isolates.memory_exceeded"),
    ("Events queued", "queue.sent"),
    ("Events refused by the queue", "queue.refused"),
    ("Events delivered twice", "queue.duplicates"),
    ("Events given up (dead letters)", "queue.dead"),
    ("Queue consumers at once, at most", "queue.consumers_max"),
)
"""What the deployment counted, the warm-up included: the row's title, and the count it reads."""

UNTOLD = ("Answers of unknown age", UNKNOWN_AGE)
"""The row of answers that may be stale or not."""

PROCESS_MEMORY = "server_process_rss_bytes"
"""Key of the provenance: the server's whole Python process, shown beside the modelled isolates."""


class Timing(NamedTuple):
    """The P95 of one more series, in ms; ``None`` if nothing was measured or too much failed."""

    title: str
    p95_ms: float | None
    samples: int


class LookupRow(NamedTuple):
    """How the look-ups of one cache type were answered."""

    cache_type: str
    total: int
    hits: int
    negative_hits: int
    stale_hits: int
    by_layer: dict[Layer, int]

    @property
    def ratio(self) -> float:
        return self.hits / self.total

    @property
    def title(self) -> str:
        """The cache type and, if there were any, how many of its hits were stale."""
        stale = f" ({self.stale_hits:,} hits stale)" if self.stale_hits else ""
        return f"{self.cache_type}{stale}"


class StatementRow(NamedTuple):
    """What D1's thread was charged for one kind of statement: how many there were, and the mean
    steps of SQLite's virtual machine and mean service time of one, in us."""

    kind: str
    statements: int
    steps: float
    service_us: float


def timing(record: RunRecord, title: str, series: str) -> Timing:
    """One row of :data:`TIMINGS` for one run; no value if it waits for an overloaded part."""
    sample = Sample(*record.pooled(series))
    value = None if unstable(record, series) else sample.percentile(P)
    return Timing(title, None if value is None else value / US_PER_MS, sample.size)


def worst_minute(record: RunRecord, route: str) -> str:
    """P95 of the worst minute of a route and when that began; empty if the run has not noted it.

    For example ``83.1 ms from 60 s``. A load test notes it, from its list of all requests.
    """
    start_us = record.provenance.get(f"worst_minute_{route}_start_us")
    if not isinstance(start_us, int):
        return ""
    p95_us = record.provenance.get(f"worst_minute_{route}_p95_us")
    value = p95_us / US_PER_MS if isinstance(p95_us, int) else None
    return f"{wording.quantity(value, 'ms')} from {start_us / 1e6:g} s"


def worst_minutes(records: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """The rows of :func:`worst_minute`: a title, and a cell for each run ("" where unknown)."""
    rows = [
        (f"{route.capitalize()}, worst minute", [worst_minute(record, route) for record in records])
        for route in ROUTES
    ]
    return [(title, cells) for title, cells in rows if any(cells)]


def lookups(record: RunRecord) -> list[LookupRow]:
    """A row a cache type that was looked up, those of the KPI first, the rest by name."""
    counts = record.counts("cache.")
    seen = {name.removesuffix(f".{layer}") for layer in Layer for name in counts}
    seen = {name for name in seen if any(f"{name}.{layer}" in counts for layer in Layer)}
    types = [t for t in record.cache_types if t in seen]
    types += sorted(seen.difference(types))
    return [_lookup_row(cache_type, counts) for cache_type in types]


def statements(record: RunRecord) -> list[StatementRow]:
    """A row a kind of statement, the costliest in all first; none where no model priced them."""
    steps, service_us = record.counts("d1.steps."), record.counts("d1.service_us.")
    rows = [
        StatementRow(kind, count, steps.get(kind, 0) / count, service_us.get(kind, 0) / count)
        for kind, count in record.counts("d1.statements.").items()
        if count
    ]
    return sorted(rows, key=lambda row: (-row.statements * row.service_us, row.kind))


def failures(record: RunRecord) -> dict[str, int]:
    """How many requests failed for each reason."""
    return record.counts("failure.")


def load_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    """A row for each part whose load some run counted: what was asked of it, for each run."""
    by_run = [{load.part: f"{load.value:.3f}" for load in loads(record)} for record in records]
    parts = dict.fromkeys(part for run in by_run for part in run)
    return [[f"Load of {part}", *(run.get(part, "-") for run in by_run)] for part in parts]


def happened(records: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Stale answers, those that may be, and the rows of :data:`COUNTED`: a title, and a text a
    record; only what happened in one of them."""
    counted = (UNTOLD, *COUNTED)
    rows = [(title, [record.count(name) for record in records]) for title, name in counted]
    texts = [(title, [f"{count:,}" for count in row]) for title, row in rows if any(row)]
    stale = [Sample(*record.pooled(STALENESS.source)).size for record in records]
    if any(stale):
        texts.insert(0, ("Stale answers", [f"{count:,}" for count in stale]))
        texts.insert(1, ("Stale answers, age P99", [stale_age(record) for record in records]))
    return texts


def stale_age_s(record: RunRecord) -> float | None:
    """The P99 of how old stale answers were, in seconds; ``None`` if none was stale, or if that
    waits for an overloaded part."""
    if unstable(record, STALENESS.source):
        return None
    value = Sample(*record.pooled(STALENESS.source)).percentile(STALENESS.p)
    return None if value is None else value / US_PER[STALENESS.unit]


def stale_age(record: RunRecord) -> str:
    """The same in words; a dash if no answer was stale."""
    if not Sample(*record.pooled(STALENESS.source)).size:
        return "-"
    return wording.quantity(stale_age_s(record), STALENESS.unit)


def process_memory_mib(record: RunRecord) -> float | None:
    """Memory of the whole Python process, if the run noted it."""
    value = record.provenance.get(PROCESS_MEMORY)
    return value / BYTES_PER_MIB if isinstance(value, int | float) else None


def _lookup_row(cache_type: str, counts: dict[str, int]) -> LookupRow:
    by_layer = {layer: counts.get(f"{cache_type}.{layer}", 0) for layer in Layer}
    hits = [layer for layer in Layer if layer in HITS]
    negative, stale = (
        sum(counts.get(f"{cache_type}.{layer}.{mark}", 0) for layer in hits)
        for mark in ("negative", "stale")
    )
    answered = sum(by_layer[layer] for layer in hits)
    return LookupRow(cache_type, sum(by_layer.values()), answered, negative, stale, by_layer)
