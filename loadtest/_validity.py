"""Whether a run shows anything at all: its generators are judged before any KPI is.

Each finding is a sentence: how it looked, and what to do about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loadtest._rows import Rows
from loadtest._tally import Tally
from reports.record import ROUTES, RunRecord

LAG_LIMIT_US = 50_000
"""Requests that leave later than this (P99) were not the load that was asked for."""

CPU_LIMIT = 0.9
"""A generator this busy, as a share of one core, adds its own waiting to every latency."""

CPU_AIM = 0.6
"""How busy a generator should be when another number of workers is advised."""

UNKNOWN_LIMIT = 0.01
"""More look-ups than this share without a layer, and a hit ratio would speak for the others."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run is judged by: each generator's numbers, every request, the merged record."""

    tallies: Sequence[Tally]
    rows: Rows
    record: RunRecord
    url: str

    @property
    def total(self) -> Tally:
        total = Tally()
        for tally in self.tallies:
            total.add(tally)
        return total


class Busiest(NamedTuple):
    """The worst of all generators, each number its own."""

    lag_p99_us: int
    cpu_share: float


def busiest(tallies: Sequence[Tally]) -> Busiest:
    """The largest lag and the largest share of a core among the generators."""
    lags = [tally.lag.percentile(0.99) or 0 for tally in tallies]
    return Busiest(max(lags, default=0), max((t.cpu_share for t in tallies), default=0.0))


def invalidities(seen: Seen) -> list[str]:
    """Every reason why the run is not valid; none for a valid one."""
    return [*_load(seen), *_counts(seen), *_evidence(seen)]


def _load(seen: Seen) -> list[str]:
    """The load that was sent is not the load that was asked for."""
    total, worst, reasons = seen.total, busiest(seen.tallies), []
    if not total.planned:
        reasons.append("the plan has no request: raise workload.*.rate_per_s or the window")
    if total.offered < total.planned:
        reasons.append(
            f"only {total.offered:,} of {total.planned:,} planned requests left, the others were "
            f"more than 10 s late: {_advice(seen)}"
        )
    if worst.lag_p99_us > LAG_LIMIT_US:
        reasons.append(
            f"requests left late, P99 of the lag is {worst.lag_p99_us / 1000:.0f} ms (limit "
            f"{LAG_LIMIT_US / 1000:.0f} ms), with a generator at {worst.cpu_share:.0%} of a core: "
            f"{_advice(seen)}"
        )
    elif worst.cpu_share > CPU_LIMIT:
        reasons.append(
            f"a generator took {worst.cpu_share:.0%} of a core (limit {CPU_LIMIT:.0%}), so its own "
            f"waiting is part of the latencies: {_advice(seen)}"
        )
    if total.out_of_sockets:
        reasons.append(
            f"{total.out_of_sockets:,} requests found no free socket on this machine: raise "
            "`ulimit -n`, or use client.connections: keep_alive"
        )
    if total.offered and not total.answered:
        reasons.append(f"nobody ever answered at {seen.url}: start the server or correct --host")
    return reasons


def _counts(seen: Seen) -> list[str]:
    """Samples were lost on the way: all ways of counting must give the same number."""
    total = seen.total
    reasons = []
    if not total.offered == total.ended == len(seen.rows):
        reasons.append(
            f"{total.offered:,} requests left, {total.ended:,} have an outcome and "
            f"{len(seen.rows):,} were listed: samples were lost, start the run again"
        )
    merged = sum(seen.record.pooled(f"latency.{route}.intended")[0].count for route in ROUTES)
    if not total.succeeded == merged == total.logged:
        reasons.append(
            f"the clients counted {total.succeeded:,} latencies, the merged histograms hold "
            f"{merged:,} and the .hlog files {total.logged:,}: samples were lost, start the run "
            "again"
        )
    overflow = sum(seen.record.pooled(f"latency.{route}.intended")[0].overflow for route in ROUTES)
    if overflow:
        reasons.append(f"{overflow:,} latencies were over an hour, which cannot be told apart")
    return reasons


def _evidence(seen: Seen) -> list[str]:
    """Too many look-ups hide what answered them; if all do, that is no data, not a defect."""
    unknown, total = (seen.record.count(f"cache.{name}") for name in ("unknown", "total"))
    if not total * UNKNOWN_LIMIT < unknown < total:
        return []
    return [
        f"{unknown / total:.1%} of the look-ups did not say which layer answered (limit "
        f"{UNKNOWN_LIMIT:.0%}): have every answer carry Cache-Status"
    ]


def _advice(seen: Seen) -> str:
    """How many workers would do, if workers are what is missing."""
    total, now = seen.total, len(seen.tallies)
    busy, sent_s = busiest(seen.tallies).cpu_share, max(t.wall_us for t in seen.tallies) / 1e6
    if busy < CPU_AIM or not total.offered:
        return "keep other work off the generator's machine, or lower the rates"
    cpu_s = total.cpu_us / 1e6 / total.offered  # what one request costs its generator
    needed = max(math.ceil(total.planned / sent_s * cpu_s / CPU_AIM), now + 1)
    return (
        f"about {needed} workers would do (--processes {needed}, on as many cores, or --master and "
        "--worker on more machines), or lower the rates"
    )
