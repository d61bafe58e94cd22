"""Timing side by side: every case once a round, interleaved, so that a slow moment hits all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping


def compare(
    cases: Mapping[str, Callable[[], float]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Rates (work a second of ``clock``) of each case by round. A case does its work and says how
    much.

    The order turns round every time; the garbage collector has run before each case.
    """
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        names = list(cases)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            gc.collect()
            started = clock()
            work = cases[name]()
            rates[name].append(work / (clock() - started))
    return rates


def table(rates: Mapping[str, list[float]], unit: str) -> str:
    """Median rate and, against the first case in the same round, the ratio with its spread."""
    base = next(iter(rates.values()))
    lines = [f"{'case':44} {unit:>14} {'ratio':>7} {'lowest':>7} {'highest':>7}"]
    for name, values in rates.items():
        ratios = [value / other for value, other in zip(values, base, strict=True)]
        lines.append(
            f"{name:44} {statistics.median(values):14,.0f} {statistics.median(ratios):7.2f} "
            f"{min(ratios):7.2f} {max(ratios):7.2f}"
        )
    return "\n".join(lines)
