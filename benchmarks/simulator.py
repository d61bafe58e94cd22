"""Simulated requests a second through the real stack, beside a naive SimPy model of the same world.

Run with ``make bench``, or ``python -m benchmarks.simulator [ROUNDS]`` in the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.naive_model import NaiveModel
from benchmarks.rounds import compare, table
from scenarios.loader import load
from scenarios.schema import Scenario
from sim.prepare import Prepared, prepare
from sim.simulate import Replication, quiet_collector

MIXES = {
    "look-ups alone": ["workload.tracking.rate_per_s=0", "workload.attribution.rate_per_s=200"],
    "baseline, half of it events": [],
}
WINDOW = "measure.window_s=60"


def main() -> None:
    """Print one table for each mix of requests."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for title, overrides in MIXES.items():
        scenario = load("steady/baseline", [*overrides, WINDOW])
        prepared = prepare(scenario)
        rates = compare(
            {
                "naive SimPy model, no stack": _naive(scenario, prepared),
                "edgekpi, the real stack": _real(scenario, prepared),
            },
            rounds,
        )
        print(f"{title}\n{table(rates, 'requests/s')}\n")


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


if __name__ == "__main__":
    main()
