"""The queue of the world: throughput, duplicates, and how the number of consumers follows load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.adapters.batch_queue import BatchQueue
from reference_impl.ports import Message, QueueError
from scenarios.services import Queue
from sim.bridge import SimRuntime
from sim.queue import Consumers, Inlet
from tests.sim.small import SECOND


class Inflow:
    """An inlet before a queue that hands its messages over one by one."""

    def __init__(self, **settings: Any) -> None:
        self.runtime = SimRuntime()
        self.got: list[str] = []
        queue = BatchQueue(self.runtime, self._take, batch_size=1)
        self.inlet = Inlet(self.runtime, queue, Queue(**settings))
        self.refused_us: list[int] = []

    async def _take(self, messages: Sequence[Message]) -> set[str]:
        self.got += [message.id for message in messages]
        return set()

    def send(self, at_us: int, number: int, *, messages: int = 1, twice: bool = False) -> None:
        async def work() -> None:
            try:
                self.inlet.accept([{}] * messages, at_us, number, twice=twice)
            except QueueError:
                self.refused_us.append(at_us)

        self.runtime.spawn(work(), at_us=at_us)

    def run(self) -> None:
        self.runtime.run()


def test_a_queue_takes_so_many_messages_a_second() -> None:
    """A burst of that many, the next one is refused, and a place comes free every 1/rate."""
    inflow = Inflow(throughput_per_s=10.0)
    for number in range(12):
        inflow.send(SECOND + number, number)
    inflow.send(SECOND + 100_000, 100)
    inflow.send(SECOND + 100_001, 101)
    inflow.run()
    assert inflow.got == [f"{number}.0" for number in (*range(10), 100)]
    assert inflow.refused_us == [SECOND + 10, SECOND + 11, SECOND + 100_001]
    assert (inflow.inlet.sent, inflow.inlet.refused) == (11, 3)


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=60), st.integers(1, 9))
def test_never_more_than_the_limit_and_its_burst(gaps_us: list[int], per_s: int) -> None:
    """Over any span: at most the rate times its length, and one second's burst."""
    inflow = Inflow(throughput_per_s=float(per_s))
    at_us, taken_us = 2 * SECOND, []
    for number, gap_us in enumerate(gaps_us):
        at_us += gap_us
        inflow.send(at_us, number)
        taken_us.append(at_us)
    inflow.run()
    kept = [at for at in taken_us if at not in inflow.refused_us]
    for i, first in enumerate(kept):
        for j, last in enumerate(kept[i:], start=1):
            assert j <= per_s * (last - first) / SECOND + per_s + 1


def test_a_message_may_come_twice() -> None:
    """Under the same ID, and counted."""
    inflow = Inflow()
    inflow.send(10, 1, twice=True)
    inflow.send(20, 2)
    inflow.run()
    assert inflow.got == ["1.0", "1.0", "2.0"]
    assert (inflow.inlet.sent, inflow.inlet.duplicates) == (2, 1)


def test_messages_of_one_call_are_taken_together_or_not_at_all() -> None:
    """Three do not fit where there is room for two; one does, then."""
    inflow = Inflow(throughput_per_s=4.0)
    inflow.send(SECOND, 1, messages=2)
    inflow.send(SECOND + 1, 2, messages=3)
    inflow.send(SECOND + 2, 3)
    inflow.run()
    assert inflow.got == ["1.0", "1.1", "3.0"]
    assert (inflow.inlet.sent, inflow.inlet.refused) == (3, 3)


def played(batches: list[tuple[int, int]], most: int) -> tuple[list[int], int]:
    """When each batch began, and how many were handled at once at most."""
    runtime = SimRuntime()
    consumers = Consumers(runtime, most)
    began: dict[int, int] = {}

    async def handle(number: int, length_us: int) -> None:
        async with consumers:
            began[number] = runtime.now_us()
            await runtime.sleep(length_us)

    for number, (at_us, length_us) in enumerate(batches):
        runtime.spawn(handle(number, length_us), at_us=at_us)
    runtime.run()
    return [began[number] for number in range(len(batches))], consumers.busy_max


def test_consumers_are_added_as_batches_end() -> None:
    """Twenty batches at once: one is handled, then two, then three, and no more than allowed."""
    began, most = played([(0, 100)] * 20, 3)
    assert [began.count(at_us) for at_us in sorted(set(began))] == [1, 2, 3, 3, 3, 3, 3, 2]
    assert most == 3


def test_consumers_leave_when_nothing_waits() -> None:
    """After a quiet time the next burst begins with one again."""
    burst, quiet = [(0, 100)] * 8, [(2_000 + 200 * i, 100) for i in range(8)]
    began, _ = played([*burst, *quiet, (10_000, 100), (10_000, 100)], 250)
    assert began[-1] > began[-2] == 10_000


def test_a_steady_load_settles_at_what_it_needs() -> None:
    """The documentation's example, a batch each second that takes 5 s: five are enough, and after
    a while nothing waits for long."""
    began, most = played([(i * SECOND, 5 * SECOND) for i in range(120)], 250)
    waits_s = [(at_us - i * SECOND) / SECOND for i, at_us in enumerate(began)]
    assert 5 <= most <= 12
    assert max(waits_s[60:]) <= 5 < max(waits_s) <= 15


@pytest.mark.parametrize("most", [1, 2, 7])
@given(batches=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 200)), max_size=40))
def test_everything_is_handled_first_in_first_out(
    most: int, batches: list[tuple[int, int]]
) -> None:
    """However the number moves: nobody is left waiting, nobody overtakes, never over the most."""
    batches = sorted(batches)
    began, busy = played(batches, most)
    assert began == sorted(began)
    assert busy <= most
