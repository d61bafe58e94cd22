"""Laws that no run may break: what each of them sees, and what a broken one makes of a run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.record import Unit
from reports.verdict import judge
from sim.laws import Flow, messages_lost, requests_lost
from sim.simulate import Replication, simulate
from sim.world import World
from tests.sim.small import scenario

visits = st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 500)), max_size=20)


@given(visits)
def test_littles_law_holds_for_every_history(visits: list[tuple[int, int]]) -> None:
    """Whoever comes and goes in whatever order: the integral is the sum of the stays."""
    flow = Flow()
    events = [(came, 0, 0) for came, _ in visits]
    events += [(came + stay, 1, stay) for came, stay in visits]
    for at_us, leaves, stay_us in sorted(events):
        if leaves:
            flow.leave(at_us, stay_us)
        else:
            flow.enter(at_us)
    assert list(flow.broken()) == []


def test_a_stay_of_another_account_breaks_littles_law() -> None:
    """One microsecond is enough."""
    flow = Flow()
    flow.enter(10)
    flow.enter(15)
    flow.leave(30, 20)
    flow.leave(40, 26)
    (found,) = flow.broken()
    assert found.startswith("Little's law: invocations in the nodes add up to 45 us of time")


def test_who_has_not_left() -> None:
    """Is told by numbers, whatever the times are."""
    flow = Flow()
    flow.enter(1)
    assert list(flow.broken()) == ["1 invocations began and 0 ended"]


def test_requests_are_counted_once() -> None:
    """One more or less than planned, of either route."""
    unit = Unit(counts={"requests.tracking": 5, "requests.attribution": 7})
    assert list(requests_lost({"tracking": 5, "attribution": 7}, unit)) == []
    lost = list(requests_lost({"tracking": 6, "attribution": 6}, unit))
    assert lost == [
        "6 requests of tracking were planned and 5 counted",
        "6 requests of attribution were planned and 7 counted",
    ]


def test_messages_are_somewhere() -> None:
    """Stored, given up, or in the queue."""
    counts = {"queue.dead": 1, "queue.undelivered": 2}
    assert list(messages_lost(10, 7, counts)) == []
    (found,) = messages_lost(10, 8, counts)
    assert found == "the queue took 10 messages; 8 were stored, 1 given up and 2 are in it"


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"measure": {"cooldown_s": 1.0}},
        {"d1": {"cost": {"base_us": 100_000}, "max_queue_depth": 2}},
        {"client": {"timeout_s": 0.02}},
        {"d1": {"cost": {"base_us": 9_000_000}, "max_queue_wait_s": 600.0}},
        {"queue": {"max_concurrency": 1, "batch_size": 1}, "edge": {"isolates_per_node": 3}},
    ],
    ids=[
        "baseline",
        "cool-down",
        "refusals",
        "impatient clients",
        "unfinished work",
        "one consumer",
    ],
)
def test_every_run_keeps_the_laws(parts: dict[str, Any]) -> None:
    """In quiet times and bad ones."""
    assert simulate(scenario(**parts), 3, 2).record.invalid == []


def test_a_run_that_breaks_a_law_is_not_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not counted: 22, and the sentence that says which law."""
    count = Replication._count

    def forgetful(self: Replication, row: Any, *rest: Any) -> None:
        if row.number != 100:
            count(self, row, *rest)

    monkeypatch.setattr(Replication, "_count", forgetful)
    record = simulate(scenario(), 1, 1).record
    (found,) = record.invalid
    assert found.startswith("replication 1: ")
    assert "were planned and" in found
    verdict = judge(record)
    assert (verdict.code, found in verdict.last_line) == (22, True)


def test_a_thread_does_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An isolate whose computing takes no time has done more work than time has passed."""
    made = World.__init__

    def eager(self: World, *rest: Any) -> None:
        made(self, *rest)
        self.nodes[0].pool.isolates[0].asked_us = 10**12

    monkeypatch.setattr(World, "__init__", eager)
    (found,) = simulate(scenario(), 1, 1).record.invalid
    assert found.startswith("replication 1: an isolate was to work for 1,000,000,")
