"""D1 as modelled: one thread, first in, first out, priced by SQLite's own work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.d1.conversions import JOURNEY
from reference_impl.ports import D1Error, D1Result
from scenarios.journeys import load_population
from scenarios.schema import Scenario
from sim.bridge import SimRuntime
from sim.d1 import TOO_LONG, TOO_MANY, D1Server
from sim.d1_database import D1Database, D1Executor
from sim.prepare import load_engine
from tests.sim.small import MS, invocation, scenario

BASE_US, READ_NS, WRITE_NS = 200, 1_000, 3_000
COST = {"base_us": BASE_US, "read_ns_per_step": READ_NS, "write_ns_per_step": WRITE_NS}
THERE_US, BACK_US, COMMIT_US = (3 + 6) * MS, 6 * MS, 5 * MS

SETUP = [Command("CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER)", ())] + [
    Command("INSERT INTO t (x) VALUES (?)", (value,)) for value in range(100)
]
POINT = Command("SELECT x FROM t WHERE id = ?", (5,))
SCAN = Command("SELECT sum(x) FROM t", ())
WRITE = Command("UPDATE t SET x = 1 WHERE id = ?", (5,))
WRONG = Command("SELECT x FROM nowhere", ())
KINDS = {"point": [POINT], "scan": [SCAN], "write": [WRITE], "batch": [POINT, WRITE, SCAN]}


def engine() -> SqliteEngine:
    made = SqliteEngine()
    for command in SETUP:
        made.execute([command])
    return made


@cache
def _price_us(commands: tuple[Command, ...]) -> list[int]:
    priced = []
    for execution in engine().execute(commands):
        per_step = READ_NS if execution.readonly else WRITE_NS
        priced.append(BASE_US + round(execution.vm_steps * per_step / 1000))
    return priced


def price_us(commands: Sequence[Command]) -> list[int]:
    """The service time of each, from the steps that SQLite takes on an engine of its own."""
    return _price_us(tuple(commands))


class Outcome(NamedTuple):
    """What one call got, when it was back, and from when on it was asked."""

    results: list[D1Result]
    error: str
    back_us: int


class Database:
    """One D1 server; every call is an invocation of its own, begun at its time."""

    def __init__(self, asked: Scenario | None = None, **settings: Any) -> None:
        self.asked = asked or scenario(d1={"cost": COST, **settings})
        self.runtime = SimRuntime()
        self.server = D1Server(self.runtime, engine(), self.asked.d1)
        self.database = D1Database(self.server, self.asked.d1, {}, [])
        self.outcomes: dict[int, Outcome] = {}

    def ask(self, number: int, at_us: int, commands: Sequence[Command]) -> None:
        inv = invocation(self.runtime, self.asked, number)

        async def work() -> None:
            results, error = [], ""
            try:
                results = await D1Executor(inv, self.database).execute(commands)
            except D1Error as raised:
                error = str(raised)
            self.outcomes[number] = Outcome(results, error, self.runtime.now_us())

        self.runtime.spawn(work(), at_us=at_us)

    def run(self) -> list[Outcome]:
        self.runtime.run()
        assert self.runtime.shutdown() == 0
        return [self.outcomes[number] for number in sorted(self.outcomes)]


# --------------------------------------------------------------------------- one call


def test_a_call_is_travel_and_service() -> None:
    """Overhead and half the round trip there, the statement, half the round trip back."""
    database = Database()
    database.ask(0, 1_000, [POINT])
    (outcome,) = database.run()
    (service_us,) = price_us([POINT])
    assert outcome.back_us == 1_000 + THERE_US + service_us + BACK_US
    assert outcome.results[0].results == [{"x": 4}]
    meta = outcome.results[0].meta
    assert meta["duration"] * 1000 == service_us
    assert (meta["wait_us"], meta["round_trip_us"]) == (0, THERE_US + BACK_US)


def test_the_way_back_is_the_other_half() -> None:
    """The thread is taken when overhead and half the round trip are over, not sooner or later."""
    database = Database()
    database.ask(0, 0, [SCAN])
    database.runtime.run(THERE_US)
    assert database.server.wait_us(THERE_US) == 0
    database.runtime.run(THERE_US + 1)
    assert database.server.wait_us(THERE_US) == sum(price_us([SCAN]))


def test_the_price_is_base_and_steps() -> None:
    """Reads and writes have a price of a step each, and a scan takes more of them."""
    (point, scan), (write,) = price_us([POINT, SCAN]), price_us([WRITE])
    steps = [execution.vm_steps for execution in engine().execute([POINT, SCAN])]
    assert (point, scan) == (BASE_US + steps[0], BASE_US + steps[1])
    assert steps[1] > 300 > 30 > steps[0]
    assert (write - BASE_US) % 3 == 0


def test_a_batch_travels_once_and_pays_each_statement() -> None:
    """Its statements follow one another on the thread; every result has its own duration."""
    database = Database()
    database.ask(0, 0, KINDS["batch"])
    (outcome,) = database.run()
    prices = price_us(KINDS["batch"])
    assert outcome.back_us == THERE_US + sum(prices) + COMMIT_US + BACK_US
    durations = [round(result.meta["duration"] * 1000) for result in outcome.results]
    assert durations == prices


def test_a_commit_waits_without_holding_the_thread() -> None:
    """The write is back a commit later; whoever comes behind it waits for its service only."""
    database = Database()
    database.ask(0, 0, [WRITE])
    database.ask(1, 1, [POINT])
    write, read = database.run()
    (write_us,), (read_us,) = price_us([WRITE]), price_us([POINT])
    assert write.back_us == THERE_US + write_us + COMMIT_US + BACK_US
    assert read.results[0].meta["wait_us"] == write_us - 1
    assert read.back_us == THERE_US + write_us + read_us + BACK_US < write.back_us


def test_a_failing_statement_costs_its_base() -> None:
    """SQLite's words come back after wait, base and travel; the next one waited for it, too."""
    database = Database()
    database.ask(0, 0, [SCAN])
    database.ask(1, 1, [WRONG])
    database.ask(2, 2, [POINT])
    scan, wrong, point = database.run()
    (scan_us,) = price_us([SCAN])
    assert wrong.error == "D1_ERROR: no such table: nowhere: SQLITE_ERROR"
    assert wrong.back_us == THERE_US + scan_us + BASE_US + BACK_US
    assert scan.error == ""
    assert point.results[0].meta["wait_us"] == scan_us + BASE_US - 2


def test_a_failing_batch_undoes_all_of_it() -> None:
    """What its first statements wrote is not there afterwards."""
    database = Database()
    database.ask(0, 0, [WRITE, WRONG])
    database.ask(1, 1 * MS, [POINT])
    wrong, point = database.run()
    assert "no such table" in wrong.error
    assert point.results[0].results == [{"x": 4}]


# --------------------------------------------------------------------------- overload


def test_too_many_requests_are_refused_at_once() -> None:
    """More than max_queue_depth waiting or running: told after the way back, nothing executed."""
    database = Database(max_queue_depth=2)
    for number in range(3):
        database.ask(number, number, [WRITE] if number == 2 else [SCAN])
    *_, refused = database.run()
    assert refused.error == TOO_MANY
    assert refused.back_us == 2 + THERE_US + BACK_US
    database.ask(3, 1_000 * MS, [POINT])
    assert database.run()[3].results[0].results == [{"x": 4}]


def test_requests_that_would_wait_too_long_are_refused_after_the_limit() -> None:
    """One that would wait longer than max_queue_wait_s hears so when that time is over."""
    (scan_us,) = price_us([SCAN])
    limit_us = scan_us - 1
    database = Database(max_queue_wait_s=limit_us / 1e6)
    for number in range(3):
        database.ask(number, number, [SCAN])
    first, second, third = database.run()
    assert (first.error, second.error, third.error) == ("", "", TOO_LONG)
    assert second.results[0].meta["wait_us"] == limit_us
    assert third.back_us == 2 + THERE_US + limit_us + BACK_US


def test_what_is_refused_does_not_use_the_thread() -> None:
    """The next one is served as if those had never come."""
    (scan_us,) = price_us([SCAN])
    database = Database(max_queue_wait_s=scan_us / 2 / 1e6)
    for number in range(5):
        database.ask(number, number, [SCAN])
    database.ask(5, scan_us, [POINT])
    outcomes = database.run()
    assert [outcome.error for outcome in outcomes] == ["", *[TOO_LONG] * 4, ""]
    assert outcomes[5].results[0].meta["wait_us"] == 0


# --------------------------------------------------------------------------- the oracle

arrivals = st.lists(
    st.tuples(st.integers(1, 900), st.sampled_from(sorted(KINDS))), min_size=1, max_size=40
)


@given(arrivals)
def test_one_thread_first_in_first_out(rows: list[tuple[int, str]]) -> None:
    """Lindley: a request starts when it has come and the one before it is done."""
    database = Database()
    expected, at_us, free_us = [], 0, 0
    for number, (gap_us, kind) in enumerate(rows):
        at_us += gap_us
        database.ask(number, at_us, KINDS[kind])
        start_us = max(at_us + THERE_US, free_us)
        free_us = start_us + sum(price_us(KINDS[kind]))
        commit_us = 0 if kind in ("point", "scan") else COMMIT_US
        expected.append((start_us - at_us - THERE_US, free_us + commit_us + BACK_US))
    assert [
        (outcome.results[0].meta["wait_us"], outcome.back_us) for outcome in database.run()
    ] == expected


@given(arrivals, st.integers(1, 5), st.integers(1, 2_000))
def test_overload_against_a_list_of_everybody(
    rows: list[tuple[int, str]], depth: int, wait_us: int
) -> None:
    """Who is refused and why, by counting on every arrival who is in there."""
    database = Database(max_queue_depth=depth, max_queue_wait_s=wait_us / 1e6)
    expected: list[str] = []
    ends: list[int] = []
    at_us = 0
    for number, (gap_us, kind) in enumerate(rows):
        at_us += gap_us
        database.ask(number, at_us, KINDS[kind])
        start_us = max([at_us, *ends])
        if sum(end > at_us for end in ends) >= depth:
            expected.append(TOO_MANY)
        elif start_us - at_us > wait_us:
            expected.append(TOO_LONG)
        else:
            expected.append("")
            ends.append(start_us + sum(price_us(KINDS[kind])))
    assert [outcome.error for outcome in database.run()] == expected


def test_a_dropped_index_is_paid_for() -> None:
    """The journey look-up on the same rows: a few steps with its index, one scan without."""
    asked = scenario(data={"max_paths": 500})
    population = load_population(asked.data)
    question = Command(JOURNEY, (population.conversions[3].conversion_id,))
    service_us, rows = [], []
    for dropped in ([], ["idx_user_journeys_conversion"]):
        without = scenario(d1={"cost": COST, "drop_indexes": dropped})
        server = D1Server(SimRuntime(), load_engine(without, population), without.d1)
        executions, _, prices = server.serve(0, [question])
        service_us.append(sum(prices) - BASE_US)
        rows.append(executions[0].rows)
    total = sum(1 for _ in population.rows())
    assert rows[0] == rows[1] != []
    assert service_us[1] > 2 * total > 4_000 > 10 * service_us[0]


def test_work_asked_for_counts_what_was_refused() -> None:
    """As much for each request turned away as for those that were served, failures included."""
    database = Database(max_queue_depth=2)
    for number in range(10):
        database.ask(number, 0, [SCAN])
    database.ask(10, 20 * MS, [WRONG])
    refused = [bool(outcome.error) for outcome in database.run()].count(True) - 1
    (scan_us,) = price_us([SCAN])
    assert refused == 8
    assert database.server.work_us == 2 * scan_us + BASE_US
    assert database.server.asked_us == database.server.work_us * (3 + 8) // 3
