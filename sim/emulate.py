"""The same world in real time, behind HTTP: what ``edgekpi serve --emulate`` runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from reference_impl.adapters.asyncio_runtime import AsyncioRuntime, measure_cpu
from reference_impl.adapters.embedded import new_instance, process_rss_bytes
from reference_impl.http.app import AskOrigin, Call, Extra
from reference_impl.http.resource import Answer, answer, read_json
from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, Evidence, Response
from reference_impl.ports import DeadLetters, Job
from reference_impl.profiling.profiler import UNANSWERED, LatencyProfiler
from scenarios.plan import Plan
from scenarios.schema import Scenario
from sim.prepare import Prepared
from sim.steady import fill_caches
from sim.world import World

UNPLANNED = 2**40
"""Requests that name no number are numbered from here, apart from every plan."""

MAX_ZERO_IN_US = 60_000_000
MAX_SEED = 2**63 - 1
SLEEPS_MEASURED = 15


class EmulatedDeployment:
    """One modelled world at a time; use inside a running event loop.

    It starts with the scenario's own seed, and anew whenever a load test asks for it, so that a
    run meets the same tables, caches and delays as a replication of the simulation.
    """

    def __init__(self, scenario: Scenario, prepared: Prepared) -> None:
        self._scenario = scenario
        self._prepared = prepared
        self._runtime = AsyncioRuntime()
        self._unplanned = itertools.count(UNPLANNED)
        self._sleep_floor_us: int | None = None
        self._cron: Job[None] | None = None
        self.start(scenario.seed, 0)

    def start(self, seed: int, zero_in_us: int) -> None:
        """A new world under ``seed`` whose time 0 lies ``zero_in_us`` from now."""
        scenario = self._scenario
        zero_us = self._runtime.now_us() + zero_in_us
        wall_us = self._runtime.wall_us() + zero_in_us
        self.profiler = LatencyProfiler(self._runtime.now_us)
        engine = self._prepared.clone_engine()
        if self._cron is not None:
            self._cron.cancel()
        observer = _Observer(self.profiler)
        self._world = World(self._runtime, scenario, seed, engine, observer, zero_us)
        self._cron = self._runtime.spawn(self._world.cron())
        isolates = sum(node.pool.size for node in self._world.nodes)
        self._instance = new_instance(isolates, wall_us)
        self._nodes = {node.name: node for node in self._world.nodes}
        if scenario.measure.start == "steady":
            rates = Plan(scenario, seed, len(self._prepared.population.conversions)).rates_per_s()
            fill_caches(self._world, scenario, rates, seed, self._prepared, zero_us, wall_us)

    def resources(self) -> Extra:
        """What only an emulation answers, endpoints by path and method."""
        return {"/api/emulation/start": {"POST": self._start}}

    async def invoke(self, call: Call, ask_origin: AskOrigin) -> tuple[Response, Evidence]:
        """Run ``call`` as the request of the plan that ``ask_origin`` names.

        CPU time is what the stack's own steps took in this process; the modelled CPU time has
        passed besides, in the place of what a Worker would have taken.
        """

        async def metered(worker: Worker, ctx: Context) -> Response:
            response, ctx.evidence.cpu_us = await measure_cpu(call(worker, ctx))
            return response

        origin = ask_origin()
        number = next(self._unplanned) if origin.number is None else origin.number
        node = self._nodes.get(origin.node or "", self._world.nodes[0])
        started_us = self._runtime.now_us()
        route, status, evidence = UNANSWERED, 500, Evidence()
        try:
            response, evidence = await self._world.serve(number, node, metered)
            route, status = response.route, response.status
        finally:
            duration_us = self._runtime.now_us() - started_us
            self.profiler.request(route, status, duration_us, evidence)
        return response, evidence

    @property
    def dead_letters(self) -> DeadLetters:
        """Those of the present world's queue."""
        return self._world.dead_letters

    def instance(self) -> Mapping[str, Any]:
        """The present world with all isolates that answer requests, since its time 0."""
        return self._instance

    def statistics(self) -> Mapping[str, Any]:
        """Memory of the fullest isolate as accounted, the process, and the world's own counts."""
        return {
            "memory_max_bytes": self._world.memory_max_bytes(),
            "process_rss_bytes": process_rss_bytes(),
            "sleep_floor_us": self._sleep_floor_us,
            "counts": self._world.counts(),
        }

    def wall_us(self) -> int:
        """The time of day."""
        return self._runtime.wall_us()

    async def _start(self, request: Request) -> Answer:
        body = await read_json(request)
        seed, zero_in_us = (
            _whole(body, "seed", MAX_SEED),
            _whole(body, "zero_in_us", MAX_ZERO_IN_US),
        )
        self.start(seed, zero_in_us)
        self._sleep_floor_us = await self._measure_sleep()
        return answer(Response(200, json.dumps({"success": True})))

    async def _measure_sleep(self) -> int:
        """How long the shortest sleep of this machine takes, the median of a few, in microseconds.

        No modelled delay below it is met by itself, only through the debt that sleeps carry.
        """
        taken_us = []
        for _ in range(SLEEPS_MEASURED):
            started_us = self._runtime.now_us()
            await self._runtime.sleep(1)
            taken_us.append(self._runtime.now_us() - started_us)
        return sorted(taken_us)[SLEEPS_MEASURED // 2]


class _Observer:
    """Hands to the profiler what no answer can carry."""

    def __init__(self, profiler: LatencyProfiler) -> None:
        self._profiler = profiler

    def batch(self, _start_us: int, handling_us: int, evidence: Evidence, *, failed: bool) -> None:
        self._profiler.batch(handling_us, evidence, failed=failed)

    def stored(self, accepted_us: int, stored_us: int) -> None:
        self._profiler.stored(stored_us - accepted_us)

    def stale(self, _asked_us: int, age_us: int) -> None:
        self._profiler.stale(age_us)

    def unknown_age(self, _asked_us: int) -> None:
        """Nothing: that no answer was stale is said of simulations only."""


def _whole(body: Any, name: str, most: int) -> int:
    value = body.get(name) if isinstance(body, dict) else None
    if type(value) is not int or not 0 <= value <= most:
        raise HTTPException(400, f"{name}: expected a whole number from 0 to {most}")
    return value
