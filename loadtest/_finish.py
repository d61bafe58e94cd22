"""The end of every run, in one place: is it valid, what did it show, where is that written.

A run has no verdict until all of this has been done; until then its exit code is 22.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

from loadtest._aftermath import aftermath
from loadtest._closed import CAUTION, add_estimates
from loadtest._rows import Rows
from loadtest._run import Result, Run
from loadtest._tally import Tally
from loadtest._validity import Seen, busiest, invalidities
from loadtest._watch import unknown_ids
from reports.html import write_report
from reports.record import RunRecord
from reports.verdict import judge
from scenarios.record import new_record, versions

PACKAGES = ("edgekpi", "locust", "gevent", "hdrhistogram", "locust-plugins")
"""What may change a number or an exit code, so its version goes into the record."""


def finish(run: Run) -> Result:
    """Judge ``run`` and write ``run.json``, ``samples.npz``, ``report.html`` and the raw samples.

    Raises:
        OSError: when the folder cannot be written.
    """
    out, rows = run.setup.out, run.crew.rows()
    record = record_of(run, rows)
    record.save(out)
    verdict = judge(record)
    rows.samples().save(out)
    if run.setup.raw is not None:
        rows.write_csv(run.setup.raw)
    write_report(out / "report.html", [record], [verdict], None)
    return Result(record, verdict)


def record_of(run: Run, rows: Rows) -> RunRecord:
    """What ``run`` has seen, and why it is not valid if it is not."""
    setup, units = run.setup, run.units()
    if setup.closed is not None:
        add_estimates(units, setup.closed.think_us)
        run.notes.append(CAUTION)
    record = new_record(
        setup.scenario, setup.kind, setup.seed, run.plan.window, units, setup.required
    )
    seen = Seen(run.crew.tallies(), rows, record, setup.target.url)
    record.provenance = _provenance(run, seen)
    record.invalid = run.invalid or invalidities(seen)
    _take_halt(record, seen.total)
    record.notes = [*run.notes, *aftermath(setup, run.id, record)]
    return record


def _take_halt(record: RunRecord, total: Tally) -> None:
    """Note why the run ended itself, or should not have been made."""
    halt = total.halt or unknown_ids(total.unknown, total.lookups)
    if halt is not None and halt.word == "not valid":
        record.invalid = [halt.reason, *record.invalid]
    elif halt is not None:
        entry = "wrong_input" if halt.word == "wrong input" else "stopped_itself"
        record.provenance[entry] = halt.reason


def _provenance(run: Run, seen: Seen) -> dict[str, str | int | float]:
    started = datetime.fromtimestamp(run.clock.wall_zero_us / 1e6, UTC)
    total = seen.total
    provenance: dict[str, str | int | float] = {
        "run_id": run.id,
        "host": run.setup.target.url,
        "started": started.isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "load_model": str(run.setup.closed or "open"),
        "generators": len(seen.tallies),
        "requests_planned": total.planned,
        "requests_offered": total.offered,
        "requests_answered": total.answered,
        "generator_cpu_share": round(busiest(seen.tallies).cpu_share, 3),
        **run.crew.facts(),
        **versions(PACKAGES),
    }
    for name, p in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        if (lag_us := total.lag.percentile(p)) is not None:
            provenance[f"dispatch_lag_{name}_us"] = lag_us
    for route, worst in seen.rows.worst_minutes(run.plan.window).items():
        provenance[f"worst_minute_{route}_start_us"] = worst.start_us
        if worst.p95_us is not None:
            provenance[f"worst_minute_{route}_p95_us"] = worst.p95_us
    for name, value in run.server_facts.items():
        provenance[f"server_{name}"] = value
    return provenance
