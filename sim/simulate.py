"""A scenario in virtual time: independent replications, each a world of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import apsw

from reference_impl.isolate.worker import ATTRIBUTION, TRACKING
from reference_impl.messages import Evidence, Response
from reports.kpis import UNKNOWN_AGE
from reports.record import RunRecord, Unit
from reports.recorder import Recorder
from reports.samples import FAILED, Samples
from reports.stability import notes
from scenarios.plan import TRACKING as TRACKS
from scenarios.plan import Chunk, Plan
from scenarios.record import new_record, versions
from scenarios.requests import event_of, layers_of
from scenarios.schema import Scenario
from sim import laws
from sim.bridge import START_WALL_US, SimRuntime
from sim.interrupt import between_events
from sim.prepare import Prepared, prepare
from sim.steady import fill_caches
from sim.world import Call, World

PACKAGES = ("edgekpi", "simpy", "numpy", "apsw", "hdrhistogram")
"""What may change a simulated number, so its version goes into the record."""

LAID_OUT = 64
"""Requests started ahead of their time at once."""

EXPECTED = {ATTRIBUTION: 200, TRACKING: 202}

Progress = Callable[[int], None]
"""Told how many more requests have been planned so far."""


class Simulated(NamedTuple):
    """A record, and the requests of its first replication one by one."""

    record: RunRecord
    samples: Samples


def simulate(
    scenario: Scenario, seed: int, replications: int, progress: Progress = lambda _count: None
) -> Simulated:
    """Run ``replications`` with the seeds ``seed``, ``seed + 1``, ... and record them.

    Ctrl-C ends it with a record of those that were finished, marked as not valid.
    """
    samples = Samples()
    units: list[Unit] = []
    invalid: list[str] = []
    try:
        with quiet_collector(), between_events() as check:
            prepared = prepare(scenario)
            for index in range(replications):
                kept = samples if index == 0 else None
                replication = Replication(scenario, seed + index, prepared, kept, progress, check)
                unit = replication.run()
                units.append(unit)
                broken = replication.broken_laws(unit)
                invalid += [f"replication {index + 1}: {law}" for law in broken]
    except KeyboardInterrupt:
        invalid.append(f"interrupted after {len(units)} of {replications} replications")
    record = new_record(scenario, "simulated", seed, Plan(scenario, seed, 1).window, units)
    record.invalid = invalid
    record.notes = notes(record)
    record.provenance = {
        **versions(PACKAGES),
        "sqlite": apsw.sqlite_lib_version(),
        "replications": replications,
    }
    return Simulated(record, samples)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Let Python look for cyclic garbage a hundred times less often than it would.

    A simulation makes many short-lived objects and few cycles; the default costs it a fifth.
    """
    before = gc.get_threshold()
    gc.set_threshold(before[0] * 100, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Replication:
    """One run of the plan under one seed, from an empty or a steady start. ``check`` is called now
    and then, between events, and ends it by raising."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        prepared: Prepared,
        samples: Samples | None = None,
        progress: Progress = lambda _count: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._conversions = prepared.population.conversions
        self._samples = samples
        self._progress = progress
        self._check = check
        self._plan = Plan(scenario, seed, len(self._conversions))
        self._timeout_us = round(scenario.client.timeout_s * 1_000_000)
        self._recorder = Recorder(self._plan.window, cache_types=scenario.kpis.cache_types)
        self._runtime = SimRuntime()
        self._observer = _Observer(self._recorder)
        self._flow = laws.Flow()
        self._planned = {TRACKING: 0, ATTRIBUTION: 0}
        self._loads: dict[str, int] = {}
        self.world = World(self._runtime, scenario, seed, prepared.clone_engine(), self._observer)
        if scenario.measure.start == "steady":
            rates = self._plan.rates_per_s()
            fill_caches(self.world, scenario, rates, seed, prepared, 0, START_WALL_US)

    def run(self) -> Unit:
        """Offer the whole plan, let what is under way finish within the time-out, and count.

        What is not finished then is cancelled and counted as failed.
        """
        self._runtime.spawn(self._offer())
        self._runtime.spawn(self._watch_loads())
        self._runtime.spawn(self.world.cron())
        try:
            self._runtime.run(self._plan.horizon_us + self._timeout_us)
        finally:
            self._runtime.shutdown()
        self._recorder.memory(self.world.memory_max_bytes())
        (unit,) = self._recorder.finish()
        unit.counts.update(self.world.counts())
        unit.counts.update(self._loads)
        return unit

    def broken_laws(self, unit: Unit) -> list[str]:
        """What :mod:`sim.laws` finds against the run that gave ``unit``."""
        stored, accepted = self._observer.stored_count, self.world.accepted_messages
        return [
            *laws.requests_lost(self._planned, unit),
            *self._flow.broken(),
            *laws.messages_lost(accepted, stored, unit.counts),
            *self.world.overworked(),
        ]

    async def _watch_loads(self) -> None:
        """Note the work that the requests of the window ask of each part: of several alike, the
        one that was asked for most."""
        window = self._plan.window
        await self._runtime.sleep_until(window.start_us)
        before = self.world.asked_us()
        await self._runtime.sleep_until(window.end_us)
        for part, asked in self.world.asked_us().items():
            most_us = max(now - then for now, then in zip(asked, before[part], strict=True))
            self._loads[f"load.{part}.asked_us"] = most_us
            self._loads[f"load.{part}.window_us"] = window.end_us - window.start_us

    async def _offer(self) -> None:
        """Start every request when it reaches its node.

        A few requests are laid out ahead at a time: one event for all of them, and the kernel's
        event list, whose length every event pays for, stays short.
        """
        for chunk in self._plan:
            self._note_planned(chunk)
            rows = _rows(chunk)
            while ahead := list(islice(rows, LAID_OUT)):
                await self._runtime.sleep_until(ahead[0].intended_us)
                self._check()
                for row in ahead:
                    self._start(row)
            self._progress(len(chunk))

    def _note_planned(self, chunk: Chunk) -> None:
        window, at_us = self._plan.window, chunk.intended_us
        within = (at_us >= window.start_us) & (at_us < window.end_us)
        events = int((within & (chunk.route == TRACKS)).sum())
        self._planned[TRACKING] += events
        self._planned[ATTRIBUTION] += int(within.sum()) - events

    def _start(self, row: _Row) -> None:
        up_us, down_us = self.world.network_us(row.number, self.world.nodes[row.node])
        if row.is_event:
            route, call, about = TRACKING, self._event(row), None
        else:
            about = self._conversions[row.key].conversion_id
            route, call = ATTRIBUTION, self._look_up(about)
        if up_us > self._timeout_us:  # the client gives up before its request arrives
            self._count(row, route, row.intended_us, "timeout", Evidence())
            return
        came_us = row.intended_us + up_us
        request = self._request(row, came_us, down_us, route, call, about)
        self._runtime.spawn(request, at_us=came_us)

    async def _request(
        self, row: _Row, came_us: int, down_us: int, route: str, call: Call, about: str | None
    ) -> None:
        """One request from its arrival at the node; its end is known before the way back is over,
        and no event is spent on waiting for it."""
        self._flow.enter(self._runtime.now_us())
        evidence = Evidence()
        failure: str | None = "unfinished"
        end_us = row.intended_us
        try:
            node = self.world.nodes[row.node]
            response, evidence = await self.world.invoke(row.number, node, call, about)
            end_us = self._runtime.now_us() + down_us
            failure = self._failure(response, end_us - row.intended_us)
        finally:
            now_us = self._runtime.now_us()
            self._flow.leave(now_us, now_us - came_us)
            self._count(row, route, end_us, failure, evidence)

    def _count(
        self, row: _Row, route: str, end_us: int, failure: str | None, evidence: Evidence
    ) -> None:
        intended_us = row.intended_us
        self._recorder.request(route, intended_us, intended_us, end_us, failure, evidence)
        if self._samples is not None:
            latency_us = FAILED if failure else end_us - intended_us
            self._samples.add(row.number, route, latency_us, layers_of(evidence))

    def _failure(self, response: Response, latency_us: int) -> str | None:
        if latency_us > self._timeout_us:
            return "timeout"
        if response.status != EXPECTED[response.route]:
            return f"status {response.status}"
        return None

    def _look_up(self, conversion_id: str) -> Call:
        model = self._scenario.workload.attribution.model
        return lambda worker, ctx: worker.attribution(ctx, conversion_id, model)

    def _event(self, row: _Row) -> Call:
        wall_us = START_WALL_US + row.intended_us
        event = event_of(
            self._conversions, str(self._seed), row.number, row.key, row.attributed, wall_us
        )
        return lambda worker, ctx: worker.track(ctx, event)


class _Observer:
    """Hands to the recorder what no answer can carry."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.stored_count = 0

    def batch(self, start_us: int, handling_us: int, evidence: Evidence, *, failed: bool) -> None:
        self._recorder.batch(start_us, handling_us, failed)
        for call in evidence.d1:
            self._recorder.consumer_d1(start_us, call)

    def stored(self, accepted_us: int, stored_us: int) -> None:
        self.stored_count += 1
        self._recorder.stored(accepted_us, stored_us)

    def stale(self, asked_us: int, age_us: int) -> None:
        self._recorder.stale(asked_us, age_us)

    def unknown_age(self, asked_us: int) -> None:
        self._recorder.note(asked_us, UNKNOWN_AGE)


class _Row(NamedTuple):
    """One request of the plan, in plain Python numbers."""

    number: int
    intended_us: int
    is_event: bool
    key: int
    attributed: bool
    node: int


def _rows(chunk: Chunk) -> Iterator[_Row]:
    numbers = range(chunk.first, chunk.first + len(chunk))
    events = (chunk.route == TRACKS).tolist()
    columns = (chunk.intended_us, chunk.key, chunk.attributed, chunk.node)
    intended, key, attributed, node = (column.tolist() for column in columns)
    return map(_Row, numbers, intended, events, key, attributed, node)
