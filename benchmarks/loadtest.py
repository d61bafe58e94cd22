"""The load test beside stock Locust and wrk, on one server in one run; and what recording costs.

Run with ``make bench``, or ``python -m benchmarks.loadtest [ROUNDS]`` in the environment. wrk is
the Debian package of that name; without it its row is left out. Generators take turns, so each has
the machine and the server for itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.rounds import compare, table
from reports.record import RunRecord, load

ROOT = Path(__file__).parents[1]
RATE, WARMUP_S, WINDOW_S = 1_000, 1, 10
SAMPLES = 50_000


class Row(NamedTuple):
    """One generator in one round; ``None`` is what it does not tell."""

    rate_per_s: float
    p50_ms: float
    p95_ms: float | None
    p99_ms: float
    lag_p99_ms: float | None = None
    cpu_us: float | None = None


def main() -> None:
    """Print the generators, then the cost of recording."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cases = {"edgekpi, open at 1,000/s": ours, "stock Locust, 100 users": stock}
    if shutil.which("wrk"):
        cases["wrk, 10 connections, no pause"] = wrk
    else:
        print("wrk is not installed (Debian package wrk): its row is left out", file=sys.stderr)
    rows: dict[str, list[Row]] = {name: [] for name in cases}
    with server() as url:
        for _ in range(rounds):
            for name, case in cases.items():
                rows[name].append(case(url))
    print(f"{'generator':32} {'req/s':>7} {'P50 ms':>7} {'P95 ms':>7} {'P99 ms':>7}", end="")
    print(f" {'lag P99 ms':>11} {'CPU us/req':>11}")
    for name, found in rows.items():
        print(f"{name:32}{''.join(_cells(found))}")
    pairs = zip(*(rows[name] for name in list(cases)[:2]), strict=True)
    ratios = [one.cpu_us / two.cpu_us for one, two in pairs if one.cpu_us and two.cpu_us]
    print(f"\nCPU of a request, edgekpi to stock Locust: {median(ratios):.2f}", end="")
    print(f" ({min(ratios):.2f} to {max(ratios):.2f})\n")
    recorders = {"stock Locust, two digits": _locust_records, "edgekpi, HDR and all": _we_record}
    print(table(compare(recorders, 5), "samples/s"))


def _cells(rows: list[Row]) -> Iterator[str]:
    """The median of each column, and its spread where it says how punctual a generator was."""
    for width, digits, column in zip(
        (8, 8, 8, 8, 12, 12), (0, 2, 2, 2, 2, 0), zip(*rows, strict=True), strict=True
    ):
        known = [value for value in column if value is not None]
        yield f"{median(known):{width},.{digits}f}" if known else f"{'-':>{width}}"


@contextmanager
def server() -> Iterator[str]:
    """The tiny server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.tiny_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def ours(url: str) -> Row:
    """``edgekpi load`` with look-ups only."""
    settings = {
        "measure.warmup_s": WARMUP_S,
        "measure.window_s": WINDOW_S,
        "workload.attribution.rate_per_s": RATE,
        "workload.tracking.rate_per_s": 0,
    }
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        command = ["edgekpi", "load", "smoke/tiny", "--host", url, "--quiet", "--out", folder]
        _run(command + sets)
        record = load(folder)
    latency = record.pooled("latency.attribution.actual")[0]
    sent = _fact(record, "requests_offered")
    p50, p95, p99 = ((latency.percentile(p) or 0) / 1000 for p in (0.5, 0.95, 0.99))
    return Row(
        sent / (WARMUP_S + WINDOW_S),
        p50,
        p95,
        p99,
        lag_p99_ms=_fact(record, "dispatch_lag_p99_us") / 1000,
        cpu_us=_fact(record, "generator_cpu_share") * (WARMUP_S + WINDOW_S) * 1e6 / sent,
    )


def stock(url: str) -> Row:
    """Stock Locust with as many users as it takes, each pausing up to its own throughput."""
    how = ["--headless", "-u", "100", "-r", "100", "-t", f"{WARMUP_S + WINDOW_S}", "--only-summary"]
    file = str(ROOT / "benchmarks" / "stock_locustfile.py")
    out = _run(["locust", "-f", file, "--host", url, *how])
    found = re.search("^stock:(.*)$", out, re.M)
    assert found is not None, out
    told = json.loads(found[1])
    cpu_us = told["cpu_s"] * 1e6 / told["requests"]
    p50, p95, p99 = (told[f"p{p}_ms"] for p in (50, 95, 99))
    return Row(told["rate_per_s"], p50, p95, p99, cpu_us=cpu_us)


def wrk(url: str) -> Row:
    """wrk has no rate: it shows what the server gives, and its latency at that load."""
    command = ["wrk", "-t1", "-c10", f"-d{WINDOW_S}s", "--latency", f"{url}/api/attribution/c-1"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert rate is not None, out
    found = dict(re.findall(r"^\s+(50|75|90|99)%\s+([\d.]+\w+)", out, re.M))
    return Row(float(rate[1]), _ms(found["50"]), None, _ms(found["99"]))


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def _fact(record: RunRecord, name: str) -> float:
    value = record.provenance[name]
    assert isinstance(value, int | float)
    return float(value)


def _run(command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


def _locust_records() -> float:
    from locust.stats import RequestStats

    stats = RequestStats()
    for number in range(SAMPLES):
        stats.log_request("GET", "/api/attribution", number % 300, 2)
    return SAMPLES


def _we_record() -> float:
    """All that the load test keeps of a request: blocks, lag, list, interval log."""
    from loadtest._rows import Row as Request
    from loadtest._rows import Rows
    from reference_impl.messages import Evidence
    from reference_impl.profiling.hdr import Histogram
    from reports.record import Window
    from reports.recorder import Recorder

    recorder = Recorder(Window(0, SAMPLES * 1000), blocks=10, cache_types=["attribution"])
    rows, lag, logged = Rows(), Histogram(), list[int]()
    evidence = Evidence()
    for number in range(SAMPLES):
        at, end = number * 1000, number * 1000 + number % 3_000 * 100
        recorder.request("attribution", at, at, end, None, evidence)
        lag.record(number % 5_000)
        logged.append(end - at)
        rows.add(Request(number, at, at, end, 200, "attribution", "", "L"))
    recorder.finish()
    return SAMPLES


if __name__ == "__main__":
    main()
