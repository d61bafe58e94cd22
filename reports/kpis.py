"""The catalogue: one row a KPI. Whoever reads a record knows kinds of KPI, never single ones.

Names, units and limits are those of the project's contract (README, "What each KPI measures");
the limits here are the defaults, a scenario's ``kpis.limits`` may replace them.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Literal

Statistic = Literal["ratio", "percentile", "maximum"]
Comparison = Literal["<", "<=", ">", ">="]
Basis = Literal["measured", "modelled", "input"]

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

P = 0.95
"""The percentile that every latency KPI is judged by."""

RARE_P = 0.99
"""The percentile of how old stale answers are."""


@dataclass(frozen=True, slots=True)
class Kpi:
    """One KPI: what it is called, how it is read from a record, and when it is met.

    ``source`` is a series of the record (percentile), the pair of counts ``<source>.part`` and
    ``<source>.total`` (ratio), or ``memory`` (maximum). ``needs`` says what to add when nothing
    measured it, ``look`` where to look when it is missed. ``simulated`` and ``emulated`` say what
    kind of number it is in those worlds: "measured", "modelled", or an "input" that came out again.
    ``p`` is the percentile of a percentile.
    """

    name: str
    title: str
    unit: Literal["ratio", "ms", "s", "MiB"]
    statistic: Statistic
    source: str
    target: float
    alert: float
    meets: Comparison
    beyond: Comparison
    needs: str
    look: str
    simulated: Basis = "modelled"
    emulated: Basis = "measured"
    by_value: bool = False  # True: the value alone decides, not its interval
    p: float = P
    zero_is_data: bool = True  # False: nothing but zeros means that the timers were frozen

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which way is good."""
        return "higher" if self.meets in (">", ">=") else "lower"

    def basis(self, kind: str) -> Basis:
        """What kind of number it is in a "simulated", "emulated" or "live" run."""
        return {"simulated": self.simulated, "emulated": self.emulated}.get(kind, "measured")

    def is_met(self, value: float, target: float) -> bool:
        """Whether ``value`` is on the good side of ``target`` (both in the KPI's unit)."""
        return bool(_COMPARE[self.meets](value, target))

    def is_alert(self, value: float, alert: float) -> bool:
        """Whether ``value`` is beyond ``alert`` (both in the KPI's unit)."""
        return bool(_COMPARE[self.beyond](value, alert))


def _latency(
    name: str, title: str, source: str, limits: tuple[float, float], needs: str, look: str
) -> Kpi:
    return Kpi(name, title, "ms", "percentile", source, *limits, "<", ">", needs, look)


SEVEN = (
    Kpi(
        "cache_hit_ratio",
        "Cache hit ratio",
        "ratio",
        "ratio",
        "cache",
        0.95,
        0.85,
        ">=",
        "<",
        "send requests that read the types in kpis.cache_types, and a Cache-Status header (see "
        "docs/emit-headers.md)",
        "see the hit ratio per type in the report",
    ),
    _latency(
        "tracking_latency_p95",
        "Tracking latency P95",
        "latency.tracking.intended",
        (100, 200),
        "set workload.tracking.rate_per_s above 0",
        "see the percentile plot of tracking in the report",
    ),
    _latency(
        "attribution_latency_p95",
        "Attribution latency P95",
        "latency.attribution.intended",
        (500, 1000),
        "set workload.attribution.rate_per_s above 0",
        "see the percentile plot of attribution in the report",
    ),
    _latency(
        "d1_query_p95",
        "D1 query P95",
        "d1.request",
        (50, 100),
        "send requests that reach D1, and a Server-Timing header that says so (see "
        "docs/emit-headers.md)",
        "see the D1 wait and SQL rows of the report",
    ),
    _latency(
        "queue_processing_p95",
        "Queue processing P95",
        "queue.handling",
        (500, 2000),
        "send events, and let the generator read /api/performance/stats with EDGEKPI_TOKEN",
        "see the D1 consumer row of the report: a batch mostly waits for D1",
    ),
    Kpi(
        "worker_memory_max",
        "Worker memory, largest isolate",
        "MiB",
        "maximum",
        "memory",
        128,
        128,
        "<",
        ">=",
        "let the generator read /api/performance/stats with EDGEKPI_TOKEN",
        "lower l1.max_mib, or the requests in flight in one isolate",
        emulated="modelled",
        by_value=True,
    ),
    Kpi(
        "worker_cpu_p95",
        "Worker CPU P95",
        "ms",
        "percentile",
        "cpu",
        50,
        150,
        "<",
        ">",
        "measure CPU where timers are not frozen, a Worker cannot (see docs/emit-headers.md)",
        "see edge.cpu_ms of the scenario and the attribution models it recomputes",
        simulated="input",
        zero_is_data=False,
    ),
)
"""The seven KPIs in the order of the contract."""

ERROR_RATIO = Kpi(
    "error_ratio",
    "Error ratio",
    "ratio",
    "ratio",
    "errors",
    0.001,
    0.01,
    "<=",
    ">",
    "send requests",
    "see the failures by reason in the report",
    by_value=True,
)
"""Judged beside the seven in every run that had requests: the share of requests that failed."""

STALENESS = Kpi(
    "staleness_p99_s",
    "Age of stale answers P99",
    "s",
    "percentile",
    "staleness.age",
    math.inf,
    math.inf,
    "<=",
    ">",
    "simulate it: who asks a deployment from outside cannot tell how old an answer is",
    "shorten l1.ttl_s and kv.cache_ttl_s, or let events touch what they change",
    emulated="modelled",
    p=RARE_P,
)
"""How old the stale answers are. Judged, and then counted, only where a scenario gives it limits:
how old an answer may be is for its readers to say."""

UNKNOWN_AGE = "staleness.unknown"
"""The count of answers that do not tell which state they are of, since they leave touches out."""

CATALOGUE = (*SEVEN, ERROR_RATIO)
KPI_NAMES = tuple(kpi.name for kpi in SEVEN)
BY_NAME = {kpi.name: kpi for kpi in (*CATALOGUE, STALENESS)}
DEFAULT_LIMITS: dict[str, tuple[float, float]] = {
    kpi.name: (kpi.target, kpi.alert) for kpi in CATALOGUE
}
