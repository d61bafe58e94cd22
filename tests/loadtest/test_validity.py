"""When a run is not valid: the generators' failures, each with how it looked and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from loadtest._rows import Row, Rows
from loadtest._tally import Tally
from loadtest._validity import Seen, invalidities
from reference_impl.profiling.hdr import TOP_US, Histogram
from reports.record import RunRecord, Unit, Window

N = 1_000


def tally(**changed: Any) -> Tally:
    """A generator that did all it should, but for what is said."""
    lags = changed.pop("lags", [800] * N)
    faultless = dict.fromkeys(("planned", "offered", "ended", "answered", "succeeded", "logged"), N)
    made = Tally(**faultless | {"cpu_us": 300_000, "wall_us": 1_000_000} | changed)
    made.lag.record_many(lags)
    return made


def seen(
    *tallies: Tally,
    listed: int = N,
    latencies: list[int] | None = None,
    counts: dict[str, int] | None = None,
) -> Seen:
    """A run of 1,000 requests without a fault, but for what is said."""
    rows, histogram = Rows(), Histogram()
    for number in range(listed):
        rows.add(Row(number, number, number, number + 500, 200, "tracking", "", "L"))
    histogram.record_many([500] * N if latencies is None else latencies)
    unit = Unit({"latency.tracking.intended": histogram}, {}, counts or {})
    record = RunRecord("live", "a", {}, "", 0, Window(0, 10), [unit], [], [])
    return Seen(tallies or (tally(),), rows, record, "http://127.0.0.1:1")


def test_a_faultless_run_is_valid() -> None:
    """One late request in a hundred is none too many; nor are look-ups that all are unknown."""
    assert invalidities(seen()) == []
    assert invalidities(seen(tally(lags=[800] * 990 + [60_000] * 10))) == []
    assert invalidities(seen(counts={"cache.unknown": 100, "cache.total": 100})) == []
    assert invalidities(seen(counts={"cache.unknown": 1, "cache.total": 100})) == []


LATE = {"lags": [800] * 989 + [60_000] * 11}
NOTHING = dict.fromkeys(("planned", "offered", "ended", "answered", "succeeded", "logged"), 0)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (seen(tally(planned=1500)), "only 1,000 of 1,500"),
        (seen(tally(**LATE)), r"60 ms \(limit 50 ms\).* 30% of a core: keep other work off"),
        (seen(tally(cpu_us=910_000)), r"91% of a core \(limit 90%\).*about 2 workers would do"),
        (seen(tally(out_of_sockets=3)), "3 requests found no free socket"),
        (seen(tally(ended=N - 1)), "1,000 requests left, 999 have an outcome and 1,000"),
        (seen(listed=N - 1), "1,000 have an outcome and 999 were listed"),
        (seen(tally(answered=0)), "nobody ever answered at http://127.0.0.1:1"),
        (seen(tally(logged=N - 1)), r"clients counted 1,000 .* hold 1,000 .* files 999"),
        (seen(tally(succeeded=N - 1)), r"clients counted 999 "),
        (seen(latencies=[500] * (N - 1)), r"hold 999 "),
        (seen(latencies=[500] * (N - 1) + [TOP_US + 1]), "1 latencies were over an hour"),
        (seen(tally(**NOTHING, lags=[]), listed=0, latencies=[]), "the plan has no request"),
        (seen(counts={"cache.unknown": 2, "cache.total": 100}), "2.0% of the look-ups did not"),
    ],
)
def test_each_failure_has_its_sentence(run: Seen, sentence: str) -> None:
    """And no other one."""
    (reason,) = invalidities(run)
    assert re.search(sentence, reason)


def test_the_slowest_generator_decides() -> None:
    """Nine punctual workers do not hide a late one."""
    late = tally(**LATE, cpu_us=980_000)
    parts = [tally() for _ in range(9)]
    run = seen(*parts, late, listed=10 * N, latencies=[500] * 10 * N)
    (reason,) = invalidities(run)
    assert "60 ms" in reason
    assert "98% of a core" in reason


def test_the_advised_number_of_workers_keeps_each_below_the_aim() -> None:
    """A generator that spends 1 ms on each of 2,000 requests a second needs four at 60 %."""
    busy = tally(
        planned=2 * N, offered=N, ended=N, lags=[9_000_000] * N, cpu_us=1_000_000, wall_us=1_000_000
    )
    assert all("about 4 workers would do" in reason for reason in invalidities(seen(busy)))
