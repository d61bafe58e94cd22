"""What SQLite takes for the stack's statements on this machine, a call and a VM step.

The scenario's ``d1.cost`` is set from this table: a step of a read and a step of a write. The
trace that counts the steps has a clock of whole milliseconds, so the time is our own.
Run ``python -m benchmarks.d1_price``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.d1 import conversions, queries
from reference_impl.d1.bulk import inserts
from reference_impl.d1.event_store import COLUMNS, NEW_EVENTS
from reference_impl.d1.schema import CREDIT_COLUMNS
from scenarios.loader import load
from sim.prepare import prepare

NOW = "2026-01-01T00:00:00.000Z"
CALLS = 300
NO_INDEX = ["d1.drop_indexes=[idx_user_journeys_conversion]"]


def main() -> None:
    """Print the table."""
    print(f"{'statement':44} {'VM steps':>9} {'us a call':>10} {'ns a step':>10}")
    indexed = prepare(load("steady/baseline"))
    ids = [conversion.conversion_id for conversion in indexed.population.conversions]
    engine = indexed.clone_engine()
    _row("journey of a conversion, index", engine, _journeys(ids, CALLS))
    _row("insert of an event", engine, _events())
    _row("attribution of 13 credits, 2 statements", engine, _credits(ids))
    scanned = prepare(load("steady/baseline", NO_INDEX)).clone_engine()
    _row("journey of a conversion, no index", scanned, _journeys(ids, 20))


def _row(title: str, engine: SqliteEngine, work: Iterator[list[Command]]) -> None:
    times_us, steps = [], []
    for commands in work:
        started = time.perf_counter_ns()
        executions = engine.execute(commands)
        times_us.append((time.perf_counter_ns() - started) / 1000)
        steps.append(sum(execution.vm_steps for execution in executions))
    call_us, mean_steps = statistics.median(times_us), statistics.mean(steps)
    print(f"{title:44} {mean_steps:9,.0f} {call_us:10,.1f} {call_us / mean_steps * 1000:10,.1f}")


def _journeys(ids: list[str], count: int) -> Iterator[list[Command]]:
    for conversion_id in ids[:: len(ids) // count][:count]:
        yield [Command(conversions.JOURNEY, (conversion_id,))]


def _events() -> Iterator[list[Command]]:
    for i in range(CALLS):
        labels = ("touch", "edgekpi-email", "edgekpi", "edgekpi-1", None, None)
        values = (f"visitor-{i * 7919}", f"price-{i}", *labels, NOW, None, None, NOW)
        ((sql, bound),) = inserts("user_journeys", COLUMNS, [(*values, None)], NEW_EVENTS)
        yield [Command(sql, bound)]


def _credits(ids: list[str]) -> Iterator[list[Command]]:
    for conversion_id in ids[:CALLS]:
        rows = [(conversion_id, "linear", i, "email", 7.69, None, NOW) for i in range(13)]
        (insert,) = inserts("multi_touch_attribution", CREDIT_COLUMNS, rows)
        yield [Command(queries._FORGET_ATTRIBUTION, (conversion_id,)), Command(*insert)]


if __name__ == "__main__":
    main()
