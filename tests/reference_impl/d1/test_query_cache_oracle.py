"""Cached look-ups against a dull reader: what was read within the minute, until an own write."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.d1.queries import QueryOptimizer
from reference_impl.d1.query_cache import LIFE_US
from tests.reference_impl.fakes import Edge
from tests.reference_impl.touches import touch

USERS = st.sampled_from(["u1", "u2"])


class Step(NamedTuple):
    """After a pause, something happens to a user's journey."""

    pause_s: int
    action: str
    user: str


class Oracle:
    """How many touches each user has, and which answer is remembered until when."""

    def __init__(self) -> None:
        self.stored = {"u1": 0, "u2": 0}
        self.kept: dict[str, tuple[int, int]] = {}

    def look(self, user: str, now_us: int) -> int:
        if user not in self.kept or now_us >= self.kept[user][1]:
            self.kept[user] = (self.stored[user], now_us + LIFE_US)
        return self.kept[user][0]


ACTIONS = ["look"] * 6 + ["own write", "other's write", "invalidate", "invalidate all"]
stories = st.lists(
    st.builds(Step, st.sampled_from([1, 20, 59, 60]), st.sampled_from(ACTIONS), USERS), max_size=30
)


@given(stories)
@settings(max_examples=80)
def test_d03_d04_d07_look_ups_agree_with_the_oracle(story: list[Step]) -> None:
    """Through lives, own writes, those of other isolates, and invalidations by name."""
    edge, oracle = Edge(), Oracle()
    edge.d1.delay_us = 0
    queries = QueryOptimizer(edge.runtime)

    async def do(number: int, step: Step) -> None:
        user = step.user
        if step.action == "look":
            rows = await queries.get_user_journey(edge.context(), user)
            assert len(rows) == oracle.look(user, edge.runtime.now_us())
        elif step.action == "own write":
            await touch(edge, queries, "a", user_id=user, event_id=str(number))
            oracle.stored[user] += 1
            oracle.kept.pop(user, None)
        elif step.action == "other's write":
            others = QueryOptimizer(edge.runtime)
            await touch(edge, others, "a", user_id=user, event_id=str(number))
            oracle.stored[user] += 1
        elif step.action == "invalidate":
            kept = user in oracle.kept and edge.runtime.now_us() < oracle.kept[user][1]
            assert queries.invalidate_cache(f"journey:{user}:*") >= kept
            oracle.kept.pop(user, None)
        else:
            queries.invalidate_cache("*")
            oracle.kept.clear()

    async def work() -> None:
        for number, step in enumerate(story):
            await edge.sleep_s(step.pause_s)
            await do(number, step)

    edge.run(work())


class Burst(NamedTuple):
    """A look-up or a write that begins after a pause, and whose call to D1 takes so long."""

    pause_us: int
    write: bool
    user: str
    takes_us: int


bursts = st.lists(
    st.builds(
        Burst,
        st.integers(0, 30_000),
        st.booleans(),
        USERS,
        st.sampled_from([1_000, 20_000, 70_000]),
    ),
    max_size=25,
)


@given(bursts)
@settings(max_examples=80)
def test_d04_an_isolate_reads_what_it_has_written(burst: list[Burst]) -> None:
    """However reads and writes overlap: a look-up that begins after a write of this isolate has
    ended shows it, from the cache too."""
    edge = Edge()
    queries = QueryOptimizer(edge.runtime)
    written = {"u1": 0, "u2": 0}

    async def do(number: int, step: Burst) -> None:
        edge.d1.delay_us = step.takes_us
        if step.write:
            await touch(edge, queries, "a", user_id=step.user, event_id=str(number))
            written[step.user] += 1
        else:
            known = written[step.user]
            rows = await queries.get_user_journey(edge.context(), step.user)
            assert len(rows) >= known

    async def work() -> None:
        jobs = []
        for number, step in enumerate(burst):
            await edge.runtime.sleep(step.pause_us)
            jobs.append(edge.runtime.spawn(do(number, step)))
        for job in jobs:
            await job

    edge.run(work())
