"""What a simulation costs: speed beside a naive SimPy model and bare SimPy, growth, and memory.

Rates are by processor time, which other work on the machine disturbs less than the clock. Run with
``make bench``, or ``python -m benchmarks.simulator [ROUNDS]`` in the environment.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.naive_model import NaiveModel
from benchmarks.rounds import compare, table
from benchmarks.runtime import bare_sleeps
from scenarios.loader import load
from scenarios.schema import Scenario
from sim.prepare import Prepared, prepare
from sim.simulate import Replication, quiet_collector

MIXES = {
    "look-ups alone": ["workload.tracking.rate_per_s=0", "workload.attribution.rate_per_s=200"],
    "baseline, half of it events": [],
}
WINDOW = "measure.window_s=60"
WINDOWS_S = (15, 60, 240)
NODES = (1, 10, 100)


def main() -> None:
    """Print a table for each mix of requests, and how cost grows with requests and nodes."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    bare = compare({"bare SimPy, one process": bare_sleeps}, rounds, time.process_time)
    print(f"{table(bare, 'events/s')}\n")
    for title, overrides in MIXES.items():
        scenario = load("steady/baseline", [*overrides, WINDOW])
        prepared = prepare(scenario)
        rates = compare(
            {
                "naive SimPy model, no stack": _naive(scenario, prepared),
                "edgekpi, the real stack": _real(scenario, prepared),
            },
            rounds,
            time.process_time,
        )
        print(f"{title}\n{table(rates, 'requests/s')}\n")
    _print_growth(rounds)
    _print_memory()


def _naive(scenario: Scenario, prepared: Prepared) -> Callable[[], float]:
    conversions = len(prepared.population.conversions)
    return lambda: len(NaiveModel(scenario, 1, conversions).run())


def _real(scenario: Scenario, prepared: Prepared) -> Callable[[], float]:
    def run() -> float:
        done = 0

        def count(requests: int) -> None:
            nonlocal done
            done += requests

        with quiet_collector():
            Replication(scenario, 1, prepared, progress=count).run()
        return done

    return run


def _print_growth(rounds: int) -> None:
    """Processor time of a request by the length of the run: it must not rise."""
    prepared = prepare(load("steady/baseline"))
    cases = {
        f"{window_s} s": _real(load("steady/baseline", [f"measure.window_s={window_s}"]), prepared)
        for window_s in WINDOWS_S
    }
    print("cost of a request by the length of the run")
    for name, rates in compare(cases, rounds, time.process_time).items():
        print(f"{name:>12} {1e6 / statistics.median(rates):8.1f} us")


def _print_memory() -> None:
    """Peak memory of a whole process by the number of nodes, for the same requests."""
    print("\npeak memory of the process by nodes, for the same 200 requests a second")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for nodes in NODES:
            print(f"{nodes:>12} {pool.apply(peak_mib, (nodes,)):8.1f} MiB")


def peak_mib(nodes: int) -> float:
    """The most memory that this process has held, after one replication with so many nodes."""
    listed = ", ".join(f"{{name: n{i}, share: {1 / nodes}}}" for i in range(nodes))
    scenario = load("steady/baseline", [f"edge.nodes=[{listed}]", WINDOW])
    _real(scenario, prepare(scenario))()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
