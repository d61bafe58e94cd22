"""D1 beyond its one thread: retries, the time limit, stalls, own prices, replicas and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.ports import D1Error, D1Result
from sim.bridge import SimRuntime
from sim.d1 import TIMED_OUT, D1Server, kind_of, reads_only
from sim.d1_database import LOST, Commit, D1Database, D1Executor, Replica
from tests.sim.small import MS, SECOND, always, edge_node, invocation, scenario

TABLE = Command("CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER)", ())
ROW = Command("INSERT INTO t (id, x) VALUES (1, 0)", ())
READ = Command("SELECT x FROM t WHERE id = 1", ())
SCAN = Command(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 999) "
    "SELECT sum(i) FROM n",
    (),
)
THERE_US, BACK_US, COMMIT_US = (3 + 6) * MS, 6 * MS, 5 * MS
PRIMARY_FAR_MS, REPLICA_NEAR_MS, LAG_MS = 78, 12, 800

FAR: dict[str, Any] = {
    "edge": {"nodes": [{"name": "iad", "region": "enam"}]},
    "d1": {"replicas": True, "session": "first-unconstrained", "replica_lag_ms": always(LAG_MS)},
}


def write(x: int) -> Command:
    return Command("UPDATE t SET x = ? WHERE id = 1", (x,))


class Database:
    """A primary in weur and, if asked for, a replica; calls are told with their times."""

    def __init__(self, d1: dict[str, Any] | None = None, **parts: Any) -> None:
        self.asked = scenario(**{**parts, "d1": {**parts.get("d1", {}), **(d1 or {})}})
        self.runtime, settings = SimRuntime(), self.asked.d1
        engine = SqliteEngine()
        for command in (TABLE, ROW):
            engine.execute([command])
        stalls = [(f.from_s * SECOND, (f.from_s + f.for_s) * SECOND) for f in self.asked.faults]
        self.primary = D1Server(
            self.runtime, engine, settings, [(round(a), round(b)) for a, b in stalls]
        )
        log: list[Commit] = []
        self.near: dict[str, Replica] = {}
        for node in self.asked.edge.nodes:
            if self.asked.nearest_replica(node) is not None:
                copy = SqliteEngine.from_snapshot(engine.snapshot())
                self.near[node.name] = Replica(self.runtime, copy, settings, log, (1, "lag"))
        self.database = D1Database(self.primary, settings, self.near, log)

    def session(self, number: int = 0) -> D1Executor:
        place = edge_node(self.runtime, self.asked, self.asked.edge.nodes[0].name)
        return D1Executor(invocation(self.runtime, self.asked, number, place), self.database)

    def run(self, *calls: tuple[int, D1Executor, Sequence[Command]]) -> list[Any]:
        """``calls`` are an instant, a session and commands; each gives its result or error, and
        how long it took."""
        found: dict[int, Any] = {}

        async def ask(index: int, at_us: int, session: D1Executor, what: Sequence[Command]) -> None:
            try:
                outcome: D1Result | str = (await session.execute(what))[-1]
            except D1Error as error:
                outcome = str(error)
            found[index] = (outcome, self.runtime.now_us() - at_us)

        for index, (at_us, session, what) in enumerate(calls):
            self.runtime.spawn(ask(index, at_us, session, what), at_us=at_us)
        self.runtime.run()
        return [found[index] for index in sorted(found)]


def x_of(found: tuple[D1Result, int]) -> object:
    return found[0].results[0]["x"]


# --------------------------------------------------------------------------- what fails


def test_a_read_is_asked_again_and_a_write_is_not() -> None:
    """With every connection lost: three attempts of a round trip each, or one; nothing executed."""
    database = Database(d1={"lost_share": 1.0})
    read, written = database.run(
        (0, database.session(0), [READ]), (0, database.session(1), [write(1)])
    )
    assert (read[0], written[0]) == (LOST, LOST)
    assert read[1] == 3 * written[1] == 3 * (THERE_US + BACK_US)
    assert (database.database.lost, database.database.retried) == (4, 2)
    assert database.primary.used == {}


def test_an_answer_says_how_often_it_was_asked_for() -> None:
    """Half of the connections lost: of many reads some took one attempt, two and three."""
    database = Database(d1={"lost_share": 0.5})
    calls = [(number * SECOND, database.session(number), [READ]) for number in range(60)]
    outcomes = database.run(*calls)
    results = [found for found, _ in outcomes if isinstance(found, D1Result)]
    assert {result.meta["total_attempts"] for result in results} == {1, 2, 3}
    failed = [found for found, _ in outcomes if found == LOST]
    assert len(results) + len(failed) == 60
    assert 1 <= len(failed) <= 20  # an eighth of them on average


@pytest.mark.parametrize("commands", [[SCAN], [write(7), SCAN]])
def test_what_executes_for_too_long_is_stopped_and_undone(commands: list[Command]) -> None:
    """It holds the thread for the limit, nothing of it stays, and the next one is served."""
    database = Database(d1={"query_timeout_s": 0.005, "cost": {"read_ns_per_step": 10_000}})
    stopped, after = database.run(
        (0, database.session(0), commands), (1, database.session(1), [READ])
    )
    limit_us = 5 * MS
    assert stopped == (TIMED_OUT, THERE_US + limit_us + BACK_US)
    assert after[0].results == [{"x": 0}]
    assert after[0].meta["wait_us"] == limit_us - 1


def test_a_stalled_thread_goes_on_where_it_was() -> None:
    """What comes while it stands waits for the end of it, then first in, first out."""
    database = Database(faults=[{"kind": "d1_stall", "from_s": 1, "for_s": 2}])
    before, during, behind = database.run(
        (0, database.session(0), [READ]),
        (1_500 * MS, database.session(1), [READ]),
        (1_600 * MS, database.session(2), [READ]),
    )
    assert before[0].meta["wait_us"] == 0
    assert during[0].meta["wait_us"] == 3_000 * MS - 1_500 * MS - THERE_US
    service_us = round(during[0].meta["duration"] * 1000)
    assert behind[0].meta["wait_us"] == 3_000 * MS + service_us - 1_600 * MS - THERE_US


# --------------------------------------------------------------------------- prices


@pytest.mark.parametrize(
    ("sql", "kind", "reading"),
    [
        ("SELECT a FROM user_journeys", "select_user_journeys", True),
        ("  with x as (select 1 from t) select * from x", "select_t", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "insert_t", False),
        ("INSERT INTO user_journeys (a) VALUES (?)", "insert_user_journeys", False),
        ("UPDATE t SET a = 1", "update_t", False),
        ("DELETE FROM t WHERE a = 1", "delete_t", False),
        ("EXPLAIN SELECT 1", "other", True),
        ("PRAGMA x", "other", False),
    ],
)
def test_kinds_of_statements(sql: str, kind: str, reading: bool) -> None:
    """Verb and table name the price; only what surely reads is retried or sent to a replica."""
    assert (kind_of(sql), reads_only(sql)) == (kind, reading)


def test_a_kind_may_have_a_price_of_its_own() -> None:
    """It takes the place of the line for all statements, and what was used is counted."""
    own = {"select_user_journeys": {"base_us": 1_000, "ns_per_step": 500_000}}
    asked = scenario(d1={"cost": {"by_statement": own}})
    engine = SqliteEngine()
    engine.migrate()
    server = D1Server(SimRuntime(), engine, asked.d1)
    question = Command("SELECT id FROM user_journeys WHERE id = 1", ())
    served = server.serve(0, [question])
    steps = served.executions[0].vm_steps
    assert served.service_us == [1_000 + 500 * steps]
    other = server.serve(10**9, [Command("SELECT utm_source FROM channel_performance", ())])
    assert other.service_us[0] < 300
    counts = server.counts()
    assert counts["d1.statements.select_user_journeys"] == 1
    assert counts["d1.steps.select_user_journeys"] == steps
    assert counts["d1.service_us.select_user_journeys"] == 1_000 + 500 * steps


# --------------------------------------------------------------------------- replicas


def test_a_session_reads_nearby_and_writes_far_away() -> None:
    """The replica in its region answers a read, the primary takes the write."""
    database = Database(**FAR)
    read, written = database.run(
        (0, database.session(0), [READ]), (0, database.session(1), [write(1)])
    )
    assert not read[0].meta["served_by_primary"]
    assert read[0].meta["round_trip_us"] == (3 + REPLICA_NEAR_MS) * MS
    assert written[0].meta["served_by_primary"]
    assert written[0].meta["round_trip_us"] == (3 + PRIMARY_FAR_MS) * MS


@pytest.mark.parametrize(("session", "primary"), [("none", True), ("first-primary", True)])
def test_other_sessions_begin_at_the_primary(session: str, primary: bool) -> None:
    """Without one always; with first-primary the first time, and then nearby."""
    database = Database(**{**FAR, "d1": {**FAR["d1"], "session": session}})
    own = database.session(0)
    first, second = database.run((0, own, [READ]), (SECOND, own, [READ]))
    assert first[0].meta["served_by_primary"] is primary
    assert second[0].meta["served_by_primary"] is (session == "none")


@pytest.mark.parametrize(("late_us", "seen"), [(-1, 0), (0, 1)])
def test_a_replica_shows_a_commit_its_lag_later(late_us: int, seen: int) -> None:
    """To a stranger's session, not a microsecond sooner; the primary shows it at once."""
    database = Database(**FAR)
    (written,) = database.run((0, database.session(0), [write(1)]))
    durable_us = written[1] - PRIMARY_FAR_MS * MS // 2
    at_replica_us = durable_us + LAG_MS * MS + late_us
    ask_us = at_replica_us - (3 + REPLICA_NEAR_MS // 2) * MS
    (read,) = database.run((ask_us, database.session(1), [READ]))
    assert x_of(read) == seen


def test_a_session_sees_its_own_write_and_waits_for_it() -> None:
    """Its bookmark turns staleness into latency: the replica answers once it has the commit."""
    database = Database(**FAR)
    own = database.session(0)
    (written,) = database.run((0, own, [write(1)]))
    (read,) = database.run((written[1], own, [READ]))
    assert x_of(read) == 1
    durable_us = written[1] - PRIMARY_FAR_MS * MS // 2
    shown_us = durable_us + LAG_MS * MS
    there_us = (3 + REPLICA_NEAR_MS // 2) * MS
    assert read[0].meta["wait_us"] == shown_us - written[1] - there_us


@given(st.lists(st.tuples(st.integers(1, 3_000), st.booleans()), min_size=2, max_size=25))
def test_sessions_never_go_back_in_time(steps: list[tuple[int, bool]]) -> None:
    """Over any reads and writes of one session with random lags: it sees its own writes, and no
    read tells less than the one before."""
    d1 = {**FAR["d1"], "replica_lag_ms": {"p50": 800, "p99": 6100}}
    database = Database(**{**FAR, "d1": d1})
    own, stranger = database.session(0), database.session(1)
    written = at_least = 0
    for number, (pause_ms, is_write) in enumerate(steps, start=1):
        at_us = database.runtime.now_us() + pause_ms * MS
        if is_write:
            session = own if number % 2 else stranger
            database.run((at_us, session, [write(number)]))
            written = number if session is own else written
        else:
            ((found, _),) = database.run((at_us, own, [READ]))
            seen = found.results[0]["x"]
            assert seen >= max(written, at_least)
            at_least = seen
