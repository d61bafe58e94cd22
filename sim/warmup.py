"""How long a run needs to forget its start: MSER-5.

White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69
(1997); White, Cobb and Spratt, Winter Simulation Conference 2000. The samples are averaged five by
five; of all truncations, the one is taken that leaves the mean of the rest known best, by the
square of its standard error as if the rest were independent. Only the first half is searched (at
the end, a few like samples by chance look like a steady state); a minimum at its very end says that
the run is too short to have forgotten its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_impl.isolate.worker import ATTRIBUTION, TRACKING
from reports.samples import FAILED, Samples, SampleTable
from scenarios.plan import US_PER_S, Plan
from scenarios.schema import Scenario
from sim.prepare import Prepared
from sim.simulate import Replication, quiet_collector

BATCH = 5
SETTLED = 0.95
"""A truncation beyond this part of the first half is none."""


class NoSteadyState(Exception):
    """A pilot run was still under the influence of its start at its half."""


def mser(values: NDArray[Any], batch: int = BATCH) -> int | None:
    """How many samples to leave out at the beginning; ``None`` if the run is too short to say."""
    count = len(values) // batch
    if count < 4:
        return None
    means = values[: count * batch].reshape(count, batch).mean(axis=1)
    means = means - means.mean()  # or squares of large numbers would lose the differences
    left = np.arange(count, 0, -1)  # batches left after leaving out 0, 1, 2, ...
    total = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum(means[::-1] ** 2)[::-1]
    known = (squares - total**2 / left) / left.astype(float) ** 2
    half = count // 2
    found = int(np.argmin(known[: half + 1]))
    return None if found > SETTLED * half else found * batch


def find_warmup_s(scenario: Scenario, seed: int, prepared: Prepared) -> float:
    """The warm-up that latencies and misses of a pilot run under ``seed`` ask for, in seconds.

    The pilot lasts as long as warm-up and window of the scenario. The longest of the truncations
    of each route's latencies and of the share of misses is taken.

    Raises:
        NoSteadyState: when one of them lies in the second half of the pilot.
    """
    length_s = scenario.measure.warmup_s + scenario.measure.window_s
    pilot = with_warmup(scenario, 0.0, length_s)
    samples = Samples()
    with quiet_collector():
        Replication(pilot, seed, prepared, samples).run()
    plan = Plan(pilot, seed, len(prepared.population.conversions))
    intended_us = np.concatenate([chunk.intended_us for chunk in plan])
    needed_us = 0
    for name, numbers, values in _series(samples.table(), scenario.client.timeout_s):
        left_out = mser(values)
        if left_out is None:
            raise NoSteadyState(
                f"{name} have not settled in the first half of {length_s:g} s: lengthen"
                " measure.window_s, or take measure.start=steady"
            )
        needed_us = max(needed_us, int(intended_us[numbers[left_out]]))
    return needed_us / US_PER_S


def _series(
    table: SampleTable, timeout_s: float
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[Any]]]:
    """What must have settled: its name, the requests' numbers and their values in order."""
    failed_us = round(timeout_s * US_PER_S)
    latency_us = np.where(table.latency_us == FAILED, failed_us, table.latency_us)
    for route in (ATTRIBUTION, TRACKING):
        chosen = table.route == route
        if chosen.any():
            yield f"latencies of {route}", table.number[chosen], latency_us[chosen]
    looked_up = table.layers != ""
    if looked_up.any():
        missed = ~np.isin(table.layers[looked_up], ["L", "K"])
        yield "cache misses", table.number[looked_up], missed.astype(float)


def with_warmup(scenario: Scenario, warmup_s: float, window_s: float | None = None) -> Scenario:
    """The scenario with another warm-up, and another window if that is given."""
    measure = scenario.measure.model_copy(
        update={"warmup_s": warmup_s, "window_s": window_s or scenario.measure.window_s}
    )
    return scenario.model_copy(update={"measure": measure})
