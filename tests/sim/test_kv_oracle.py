"""Workers KV as modelled against an oracle that forgets nothing: two tiers of copies in a row."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from tests.sim.kvs import (
    KV,
    READ_CENTRAL_US,
    READ_NODE_US,
    READ_REGIONAL_US,
    REGION_OF,
    WRITE_US,
)
from tests.sim.small import MS, SECOND

NODES = tuple(REGION_OF)


class Step(NamedTuple):
    """One call: when it begins, where, on which key, and what (``ttl`` of a write or a reader)."""

    at_us: int
    node: str
    key: str
    kind: str
    ttl: int


class Write(NamedTuple):
    """One acknowledged write, with the instants that matter."""

    acked_us: int
    text: str | None
    expires_us: int


class Held(NamedTuple):
    """One thing that a node or a region came to hold of a key, and how old it was by then."""

    since_us: int
    fetched_us: int
    write: Write
    own: bool


NOTHING = Write(0, None, 2**62)


@dataclass
class Oracle:
    """Goes through begins and ends in order of time and keeps every write and copy for ever.

    A node reads what it holds if that is young enough, or what its region holds, or the store.
    """

    propagation_us: int
    writes: dict[str, list[Write]] = field(default_factory=dict)
    held: dict[tuple[str, str], list[Held]] = field(default_factory=dict)
    taken_us: dict[str, list[int]] = field(default_factory=dict)
    answers: dict[int, str | None] = field(default_factory=dict)

    def play(self, steps: list[Step]) -> dict[int, str | None]:
        nothing = Held(0, 0, NOTHING, False)
        events = [(step.at_us, "begin", step, nothing) for step in steps]
        heapq.heapify(events)
        while events:
            now_us, what, step, found = heapq.heappop(events)
            if what == "begin":
                delay_us, what, found = self.begin(now_us, step)
                heapq.heappush(events, (now_us + delay_us, what, step, found))
            else:
                self.end(now_us, what, step, found)
        return self.answers

    def begin(self, now_us: int, step: Step) -> tuple[int, str, Held]:
        nothing = Held(now_us, now_us, NOTHING, False)
        if step.kind == "read":
            copy = self.young(step.node, step, now_us)
            if copy is not None:
                return READ_NODE_US, "copy", copy
            copy = self.young(REGION_OF[step.node], step, now_us)
            if copy is not None:
                return READ_REGIONAL_US, "handed on", copy
            return READ_CENTRAL_US, "fetch", nothing
        taken = self.taken_us.setdefault(step.key, [])
        if any(now_us - at_us < SECOND for at_us in taken):
            return WRITE_US, "refused", nothing
        taken.append(now_us)
        if step.kind == "delete":
            return WRITE_US, "write", nothing
        written = Write(0, f"{now_us}", now_us + step.ttl * SECOND)
        return WRITE_US, "write", nothing._replace(write=written)

    def young(self, place: str, step: Step, now_us: int) -> Held | None:
        """What ``place`` holds, if a reader with this step's cacheTtl takes it."""
        all_held = self.held.get((place, step.key), [])
        if not all_held:
            return None
        newest = all_held[-1]
        ends_us = min(newest.fetched_us + step.ttl * SECOND, newest.write.expires_us)
        return newest if now_us < ends_us else None

    def end(self, now_us: int, what: str, step: Step, found: Held) -> None:
        if what == "copy":
            self.answers[step.at_us] = found.write.text
        elif what == "refused":
            self.answers[step.at_us] = "refused 429"
        elif what == "write":
            written = found.write._replace(acked_us=now_us)
            self.writes.setdefault(step.key, []).append(written)
            own = Held(now_us, now_us, written, True)
            self.held.setdefault((step.node, step.key), []).append(own)
        else:
            if what == "fetch":
                found = Held(now_us, now_us, self.central(now_us, step.key), False)
                self.hold(REGION_OF[step.node], step, found)
            self.answers[step.at_us] = found.write.text
            self.hold(step.node, step, found._replace(since_us=now_us))

    def hold(self, place: str, step: Step, found: Held) -> None:
        """Keep what was fetched, unless this place wrote meanwhile or has something newer."""
        all_held = self.held.setdefault((place, step.key), [])
        wrote = any(held.own and held.since_us >= step.at_us for held in all_held)
        newer = any(held.fetched_us > found.fetched_us for held in all_held)
        if not (wrote or newer):
            all_held.append(found)

    def central(self, now_us: int, key: str) -> Write:
        visible = [
            write
            for write in self.writes.get(key, [])
            if write.acked_us + self.propagation_us <= now_us
        ]
        return visible[-1] if visible and now_us < visible[-1].expires_us else NOTHING


def _steps(rows: list[tuple[int, str, str, str, int]]) -> list[Step]:
    steps, at_us = [], 0
    for gap_ms, node, key, kind, ttl in rows:
        at_us += gap_ms * MS
        steps.append(Step(at_us, node, key, kind, ttl))
    return steps


gaps_ms = st.sampled_from([1, 5, 15, 25, 40, 500, 999, 1_000, 5_000, 30_000, 60_000])
kinds = st.sampled_from(["read", "read", "read", "put", "put", "delete"])
rows = st.tuples(
    gaps_ms, st.sampled_from(NODES), st.sampled_from(["a", "b"]), kinds, st.sampled_from([60, 100])
)
plans = st.lists(rows, min_size=1, max_size=40).map(_steps)


@given(plans, st.sampled_from([0, 10 * MS, 5 * SECOND, 90 * SECOND]))
@example(_steps([(1, "fra", "a", "put", 60), (60_000, "fra", "a", "read", 100)]), 0)
def test_the_model_agrees_with_the_oracle(steps: list[Step], propagation_us: int) -> None:
    """Reads, writes and deletions at two nodes, also while others are on their way."""
    kv = KV(propagation_ms=propagation_us / MS)
    for step in steps:
        if step.kind == "read":
            kv.read(step.at_us, step.node, step.key, step.ttl)
        else:
            text = f"{step.at_us}" if step.kind == "put" else None
            kv.write(step.at_us, step.node, text, step.key, step.ttl)
    assert kv.run() == Oracle(propagation_us).play(steps)
