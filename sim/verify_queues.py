"""Waits in the world's queues, measured for :mod:`sim.verify`.

The controls are services and gaps less their means, alone and times the wait that came before
them. A server that does not look ahead leaves all four at 0 in the mean, right or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_impl.adapters.sqlite import Command, Execution, SqliteEngine
from scenarios.services import D1, D1Cost
from scenarios.streams import stream
from sim import theory
from sim.batch_means import Mean, Numbers, batch_mean
from sim.bridge import SimRuntime
from sim.d1 import D1Server

Times = NDArray[np.int64]

MEAN_US = 10_000
WARM_UP = 0.05
"""The part of a run that is left out at its beginning, when nobody has to wait yet."""

READ = "SELECT sum(x) FROM t WHERE id <= ?"
MOST_ROWS = 50
COST = D1Cost(base_us=0, read_ns_per_step=10_000.0)


def exponential_us(seed: int, part: str, size: int, mean_us: float) -> Times:
    """``size`` draws of the exponential law in whole microseconds."""
    draws = stream(seed, f"verify.{part}", 0).standard_exponential(size)
    return np.rint(draws * mean_us).astype(np.int64)


def drive(runtime: SimRuntime, gaps_us: Times, arrive: Callable[[int, int], None]) -> None:
    """Let arrivals follow each other in virtual time: ``arrive(number, now)`` for each."""

    async def arrivals() -> None:
        for number, gap_us in enumerate(gaps_us.tolist()):
            await runtime.sleep(gap_us)
            arrive(number, runtime.now_us())

    runtime.spawn(arrivals())
    runtime.run()


class DrawnEngine(SqliteEngine):
    """Stands in for SQLite where the law of the service is given: each statement takes the number
    of steps drawn for it, and reads nothing."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = iter(steps)

    def execute(self, commands: Sequence[Command], _check: Any = bool) -> list[Execution]:
        """One execution of a read, whatever ``commands`` say."""
        return [Execution((), [], 0, 0, next(self._steps), True)]


def d1_server(runtime: SimRuntime, engine: SqliteEngine) -> D1Server:
    """The thread of D1 at a price of 10 us a step and nothing besides."""
    return D1Server(runtime, engine, D1(cost=COST))


def d1_exponential(load: float, size: int, seed: int) -> list[tuple[float, Mean]]:
    """Theory and mean wait in ms at D1, services exponential (in whole steps)."""
    step_us = COST.read_ns_per_step / 1000
    steps = exponential_us(seed, f"mm1.{load}.service", size, MEAN_US / step_us)
    engine = DrawnEngine(steps.tolist())
    gaps_us = exponential_us(seed, f"mm1.{load}.gaps", size, MEAN_US / load)
    waits_us = _d1_waits(engine, [_read(0)] * size, gaps_us)
    found = _mean_wait_ms(waits_us, steps * step_us, MEAN_US, gaps_us, MEAN_US / load)
    return [(theory.wait_mm1(load / MEAN_US, MEAN_US) / 1000, found)]


def d1_statements(
    rows: Mapping[int, float], load: float, size: int, seed: int
) -> list[tuple[float, Mean]]:
    """Theory and mean wait in ms at D1, whose statements run on a real SQLite.

    They read so many ``rows`` with such probabilities; the law of their service is what the
    server asks for each of them.
    """
    engine = _table()
    kinds, odds = [_read(n) for n in rows], np.array(list(rows.values()))
    server = d1_server(SimRuntime(), engine)
    prices_us = np.array([server.serve(0, [kind]).service_us[0] for kind in kinds], float)
    mean_us, second = float(prices_us @ odds), float(prices_us**2 @ odds)
    part = f"mg1.{load}.{len(rows)}"
    drawn = stream(seed, f"verify.{part}.kind", 0).choice(len(rows), size, p=odds)
    gaps_us = exponential_us(seed, f"{part}.gaps", size, mean_us / load)
    waits_us = _d1_waits(engine, [kinds[kind] for kind in drawn.tolist()], gaps_us)
    found = _mean_wait_ms(waits_us, prices_us[drawn], mean_us, gaps_us, mean_us / load)
    return [(theory.wait_mg1(load / mean_us, mean_us, second) / 1000, found)]


def limiter(load: float, servers: int, size: int, seed: int) -> list[tuple[float, Mean]]:
    """Theory and mean wait in ms for one of ``servers`` places of a limiter, held exponentially."""
    held_us = exponential_us(seed, f"mmc.{load}.held", size, MEAN_US)
    mean_gap_us = MEAN_US / load / servers
    gaps_us = exponential_us(seed, f"mmc.{load}.gaps", size, mean_gap_us)
    waits_us = _limiter_waits(servers, held_us.tolist(), gaps_us)
    found = _mean_wait_ms(waits_us, held_us, MEAN_US, gaps_us, mean_gap_us)
    return [(theory.wait_mmc(1 / mean_gap_us, MEAN_US, servers) / 1000, found)]


def _table() -> SqliteEngine:
    engine = SqliteEngine()
    engine.execute([Command("CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER)", ())])
    for value in range(MOST_ROWS):
        engine.execute([Command("INSERT INTO t (x) VALUES (?)", (value,))])
    return engine


def _read(rows: int) -> Command:
    return Command(READ, (rows,))


def _d1_waits(engine: SqliteEngine, asked: Sequence[Command], gaps_us: Times) -> list[int]:
    runtime = SimRuntime()
    server = d1_server(runtime, engine)
    waits_us: list[int] = []

    def arrive(number: int, now_us: int) -> None:
        waits_us.append(server.wait_us(now_us))
        server.serve(now_us, [asked[number]])

    drive(runtime, gaps_us, arrive)
    return waits_us


def _limiter_waits(servers: int, held_us: Sequence[int], gaps_us: Times) -> list[int]:
    runtime = SimRuntime()
    places = runtime.limiter(servers)
    waits_us = [0] * len(held_us)

    async def customer(number: int, came_us: int) -> None:
        async with places:
            waits_us[number] = runtime.now_us() - came_us
            await runtime.sleep(held_us[number])

    def arrive(number: int, now_us: int) -> None:
        runtime.spawn(customer(number, now_us))

    drive(runtime, gaps_us, arrive)
    return waits_us


def _mean_wait_ms(
    waits_us: Sequence[int],
    service_us: Numbers,
    mean_us: float,
    gaps_us: Times,
    gap_us: float,
) -> Mean:
    """The wait of each customer beside its own service and the gap behind it."""
    first, last = round(len(waits_us) * WARM_UP), len(waits_us) - 1
    waits = np.array(waits_us[first:last], float)
    service = service_us[first:last] - mean_us
    gaps = gaps_us[first + 1 :] - gap_us
    found = batch_mean(waits, [service, gaps, waits * service, waits * gaps])
    return Mean(found.value / 1000, found.error / 1000, found.freedom)
