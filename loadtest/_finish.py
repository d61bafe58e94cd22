"""The end of every run, in one place: is it valid, what did it show, where is that written.

A run has no verdict until all of this has been done; until then its exit code is 22.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from reports.html import write_report
from reports.record import RunRecord
from reports.verdict import Verdict, judge
from scenarios.record import new_record, versions

if TYPE_CHECKING:
    from loadtest._run import Run

LAG_LIMIT_US = 50_000
"""Requests that leave later than this (P99) were not the load that was asked for."""

PACKAGES = ("edgekpi", "locust", "gevent", "hdrhistogram", "locust-plugins")
"""What may change a number or an exit code, so its version goes into the record."""


class Result(NamedTuple):
    """A run that has been judged and written down."""

    record: RunRecord
    verdict: Verdict


def finish(run: Run) -> Result:
    """Judge ``run`` and write ``run.json``, ``samples.npz`` and ``report.html``.

    Raises:
        OSError: when the folder cannot be written.
    """
    out = run.setup.out
    record = record_of(run)
    record.save(out)
    verdict = judge(record)
    run.samples.save(out)
    write_report(out / "report.html", [record], [verdict], None)
    return Result(record, verdict)


def record_of(run: Run) -> RunRecord:
    """What ``run`` has seen, and why it is not valid if it is not."""
    setup, units = run.setup, run.recorder.finish()
    record = new_record(
        setup.scenario, setup.kind, setup.seed, run.plan.window, units, setup.required
    )
    record.provenance = _provenance(run)
    record.invalid = run.invalid or invalidities(run)
    record.notes = run.notes
    return record


def invalidities(run: Run) -> list[str]:
    """How the generator failed: how that looked, and what to do about it."""
    planned, offered = run.dispatcher.planned, run.dispatcher.offered
    lag_us = run.lag.percentile(0.99) or 0
    reasons = []
    if offered < planned:
        reasons.append(
            f"only {offered:,} of {planned:,} planned requests left, the others were more than "
            "10 s late: lower the rates, or use a faster machine"
        )
    if lag_us > LAG_LIMIT_US:
        reasons.append(
            f"requests left late, P99 of the lag is {lag_us / 1000:.0f} ms (limit 50 ms), with the "
            f"generator at {run.cpu_share:.0%} of a core: lower the rates, or keep other work off "
            "this machine"
        )
    if run.out_of_sockets:
        reasons.append(
            f"{run.out_of_sockets:,} requests found no free socket on this machine: raise "
            "`ulimit -n`, or use client.connections: keep_alive"
        )
    if run.recorded != offered:
        reasons.append(f"{offered:,} requests left but {run.recorded:,} were recorded: a defect")
    if offered and not run.answered:
        reasons.append(
            f"nobody ever answered at {run.setup.target.url}: start the server or correct --host"
        )
    return reasons


def _provenance(run: Run) -> dict[str, str | int | float]:
    started = datetime.fromtimestamp(run.clock.wall_zero_us / 1e6, UTC)
    provenance: dict[str, str | int | float] = {
        "run_id": run.id,
        "host": run.setup.target.url,
        "started": started.isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "requests_planned": run.dispatcher.planned,
        "requests_offered": run.dispatcher.offered,
        "requests_answered": run.answered,
        "generator_cpu_share": round(run.cpu_share, 3),
        **versions(PACKAGES),
    }
    for name, p in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        if (lag_us := run.lag.percentile(p)) is not None:
            provenance[f"dispatch_lag_{name}_us"] = lag_us
    for name, value in run.server_facts.items():
        provenance[f"server_{name}"] = value
    return provenance
