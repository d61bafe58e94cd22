"""D1 on SQLite: snapshots, transactions, the price of a statement, and what the binding refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from reference_impl.adapters.d1_binding import D1Binding, DirectExecutor
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.d1.schema import INDEXES
from reference_impl.ports import D1Error

T = TypeVar("T")
JOURNEY_INDEX = "idx_user_journeys_conversion"
JOURNEY = "SELECT utm_source FROM user_journeys WHERE conversion_id = ? ORDER BY event_timestamp"
CONVERSIONS = 500


def wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def fill(engine: SqliteEngine) -> SqliteEngine:
    """Four touches of each conversion."""
    engine.migrate()
    engine.insert_journeys(
        (f"u{c}", f"e{c}-{i}", "touch", "s", None, None, None, None, f"t{i}", i, f"c{c}", "now")
        for c in range(CONVERSIONS)
        for i in range(4)
    )
    return engine


def run(engine: SqliteEngine, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    (execution,) = engine.execute([Command(sql, values)])
    return execution.rows


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    """The filled database as bytes: a clone a test is quicker than filling it again."""
    engine = fill(SqliteEngine())
    snapshot = engine.snapshot()
    engine.close()
    return snapshot


@pytest.fixture
def engine(snapshot: bytes) -> Iterator[SqliteEngine]:
    engine = SqliteEngine.from_snapshot(snapshot)
    yield engine
    engine.close()


@pytest.fixture
def d1(engine: SqliteEngine) -> D1Binding:
    return D1Binding(DirectExecutor(engine))


# --------------------------------------------------------------------------- snapshots


def test_clones_are_independent(snapshot: bytes) -> None:
    """What one clone writes, neither the snapshot nor another clone has; all take more rows."""
    first, second = (SqliteEngine.from_snapshot(snapshot) for _ in range(2))
    run(first, "DELETE FROM user_journeys")
    run(second, "UPDATE user_journeys SET utm_source = 'x'")
    third = SqliteEngine.from_snapshot(snapshot)
    count = "SELECT count(*), min(utm_source) FROM user_journeys"
    assert [run(each, count) for each in (first, second, third)] == [
        [(0, None)], [(4 * CONVERSIONS, "x")], [(4 * CONVERSIONS, "s")],
    ]  # fmt: skip
    rows = [(f"u{i}", None, "touch", "x" * 200, *[None] * 4, "t", 0, "c", "n") for i in range(5000)]
    first.insert_journeys(rows)
    assert run(first, count) == [(5000, "x" * 200)]


def test_a_clone_has_all_its_original_had(snapshot: bytes) -> None:
    """A clone of a clone has the same bytes."""
    assert SqliteEngine.from_snapshot(snapshot).snapshot() == snapshot


def test_d14_the_schema_may_be_applied_again(engine: SqliteEngine) -> None:
    """Migrating twice changes nothing; with an index to drop it is dropped, and only that one."""
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx_%'"
    engine.migrate()
    assert {row[0] for row in run(engine, indexes)} == set(INDEXES)
    engine.migrate(frozenset({JOURNEY_INDEX}))
    assert {row[0] for row in run(engine, indexes)} == set(INDEXES) - {JOURNEY_INDEX}


# --------------------------------------------------------------------------- price


def steps(engine: SqliteEngine, *commands: Command) -> list[int]:
    return [execution.vm_steps for execution in engine.execute(commands)]


def test_d10_an_index_is_worth_orders_of_magnitude(engine: SqliteEngine) -> None:
    """The same statement on the same rows: tens of VM steps with its index, thousands without."""
    with_index = steps(engine, Command(JOURNEY, ("c7",)))[0]
    engine.migrate(frozenset({JOURNEY_INDEX}))
    without = steps(engine, Command(JOURNEY, ("c7",)))[0]
    assert with_index < 200
    assert without > 4 * CONVERSIONS
    engine.migrate()
    assert steps(engine, Command(JOURNEY, ("c7",)))[0] == with_index


def test_a_statement_costs_what_it_does(engine: SqliteEngine) -> None:
    """Repeated it costs the same; in a batch it costs what it costs alone; writes are known."""
    look, write = Command(JOURNEY, ("c7",)), Command("DELETE FROM user_journeys WHERE id = -1", ())
    alone = steps(engine, look)
    assert steps(engine, look) == alone
    executions = engine.execute([look, write, look])
    assert [each.vm_steps for each in executions[::2]] == alone * 2
    assert [each.readonly for each in executions] == [True, False, True]


def test_an_engine_that_does_not_price_answers_the_same() -> None:
    """What serves in real time has no use for the steps, and does not count them."""
    priced, bare = SqliteEngine(), SqliteEngine(priced=False)
    commands = [Command("SELECT 1 AS one UNION SELECT 2", ())]
    (told,), (answered,) = priced.execute(commands), bare.execute(commands)
    assert (
        (answered.rows, answered.columns) == (told.rows, told.columns) == ([(1,), (2,)], ("one",))
    )
    assert (told.vm_steps > 0, answered.vm_steps) == (True, 0)


# --------------------------------------------------------------------------- effects


def test_a_batch_is_all_or_nothing(engine: SqliteEngine) -> None:
    """A failing statement undoes those before it; the engine goes on working."""
    delete = Command("DELETE FROM user_journeys WHERE conversion_id = 'c1'", ())
    with pytest.raises(D1Error, match=r"^D1_ERROR: .*no such table"):
        engine.execute([delete, Command("DELETE FROM no_table", ())])
    assert run(engine, "SELECT count(*) FROM user_journeys") == [(4 * CONVERSIONS,)]
    engine.execute([delete, delete])
    assert run(engine, "SELECT count(*) FROM user_journeys") == [(4 * CONVERSIONS - 4,)]


@pytest.mark.parametrize("verb", ["INSERT INTO", "INSERT OR FAIL INTO", "INSERT OR ROLLBACK INTO"])
def test_one_statement_is_all_or_nothing(engine: SqliteEngine, verb: str) -> None:
    """Also the second time, when its text is known, and whatever it says about conflicts."""
    run(engine, "CREATE TABLE t (n INTEGER UNIQUE)")
    for _ in range(2):
        with pytest.raises(D1Error, match="UNIQUE"):
            run(engine, f"{verb} t (n) VALUES (?), (?), (?)", 1, 2, 2)
        assert run(engine, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("verb", ["UPDATE", "UPDATE OR FAIL", "UPDATE  OR FAIL"])
def test_an_update_is_all_or_nothing(engine: SqliteEngine, verb: str) -> None:
    """The first row could have been changed before the second failed."""
    run(engine, "CREATE TABLE t (n INTEGER UNIQUE)")
    run(engine, "INSERT INTO t (n) VALUES (1), (2), (3)")
    for _ in range(2):
        with pytest.raises(D1Error, match="UNIQUE"):
            run(engine, f"{verb} t SET n = 7 WHERE n < ?", 3)
        assert run(engine, "SELECT n FROM t ORDER BY n") == [(1,), (2,), (3,)]


def test_a_known_statement_keeps_its_foreign_keys(engine: SqliteEngine) -> None:
    """A reference that is checked at the commit is, without a transaction around it, too."""
    run(engine, "CREATE TABLE parent (n INTEGER PRIMARY KEY)")
    run(engine, "CREATE TABLE t (n REFERENCES parent (n) DEFERRABLE INITIALLY DEFERRED)")
    for _ in range(2):
        with pytest.raises(D1Error, match="FOREIGN KEY"):
            run(engine, "INSERT INTO t (n) VALUES (?)", 5)
        assert run(engine, "SELECT count(*) FROM t") == [(0,)]


def test_changes_are_those_of_the_statement(d1: D1Binding) -> None:
    """``changes`` tells of one statement, not of the batch or of those before it."""
    delete = "DELETE FROM user_journeys WHERE conversion_id = ?"
    results = wait(
        d1.batch(
            [
                d1.prepare(delete).bind("c1"),
                d1.prepare(delete).bind("c1"),
                d1.prepare(JOURNEY).bind("c2"),
            ]
        )
    )
    assert [result.meta["changes"] for result in results] == [4, 0, 0]
    assert [len(result.results) for result in results] == [0, 0, 4]
    assert all(result.meta["duration"] >= 0 for result in results)


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT ?", (2**63,)),
        ("SELECT ?", ("\ud800",)),
        ("SELECT ?", ()),
        ("SELECT 1", ("too many",)),
        ("SELECT", ()),
        ("SELECT * FROM nothing", ()),
        ("INSERT INTO user_journeys (user_id) VALUES (NULL)", ()),
    ],
)
def test_d15_whatever_fails_is_a_d1_error(d1: D1Binding, sql: str, values: tuple[Any, ...]) -> None:
    """Values that SQLite cannot take, wrong numbers of them, bad SQL: one kind of error."""
    with pytest.raises(D1Error, match=r"^D1_"):
        wait(d1.prepare(sql).bind(*values).all())


# --------------------------------------------------------------------------- the binding


def test_d18_101_values_are_refused(d1: D1Binding) -> None:
    """At ``bind``, before anything travels; 100 are taken."""
    marks = ", ".join("?" * 100)
    assert wait(d1.prepare(f"SELECT {marks}").bind(*range(100)).raw()) == [list(range(100))]
    with pytest.raises(D1Error, match="too many SQL variables"):
        d1.prepare(f"SELECT {marks}, ?").bind(*range(101))


@pytest.mark.parametrize("value", [[256], ["a"], [True], {}, object(), (1,), 1j])
def test_d09_what_sqlite_has_no_type_for_is_refused(d1: D1Binding, value: Any) -> None:
    """A type error at ``bind``."""
    with pytest.raises(D1Error, match="D1_TYPE_ERROR"):
        d1.prepare("SELECT ?").bind(value)


def test_a_statement_is_not_changed_by_binding(d1: D1Binding) -> None:
    """Two bindings of one prepared statement do not meet."""
    statement = d1.prepare("SELECT ? AS x")
    first, second = statement.bind(1), statement.bind(2)
    assert [wait(each.first("x")) for each in (first, second)] == [1, 2]


def test_a_column_named_twice(d1: D1Binding) -> None:
    """Rows by name keep the last value; ``raw`` keeps both."""
    statement = d1.prepare("SELECT 1 AS a, 2 AS a, 3 AS b")
    assert wait(statement.all()).results == [{"a": 2, "b": 3}]
    assert wait(statement.raw()) == [[1, 2, 3]]


def test_raw_with_names(d1: D1Binding) -> None:
    """The names come first, also when there is no row; a name that comes twice comes twice."""
    assert wait(d1.prepare("SELECT 1 AS a, 2 AS a").raw(column_names=True)) == [["a", "a"], [1, 2]]
    assert wait(d1.prepare("SELECT 1 AS a WHERE 0").raw(column_names=True)) == [["a"]]


def test_d14_exec_runs_a_statement_a_line(d1: D1Binding) -> None:
    """All or none of them, blank lines aside; a statement over two lines is two, and wrong."""
    done = wait(d1.exec("CREATE TABLE t (a)\n\n  INSERT INTO t VALUES (1)\n"))
    assert (done.count, done.duration >= 0) == (2, True)
    for wrong in ("INSERT INTO t VALUES (2)\nINSERT INTO u VALUES (1)", "SELECT\n1", "", "\n"):
        with pytest.raises(D1Error, match=r"^D1_EXEC_ERROR: "):
            wait(d1.exec(wrong))
    assert wait(d1.prepare("SELECT a FROM t").raw()) == [[1]]


def test_first(d1: D1Binding) -> None:
    """The first row or one column of it; no row is ``None``, an unknown column an error."""
    one, none = d1.prepare("SELECT 1 AS a"), d1.prepare("SELECT 1 AS a WHERE 0")
    assert wait(one.first()) == {"a": 1}
    assert (wait(none.first()), wait(none.first("b"))) == (None, None)
    with pytest.raises(D1Error, match="D1_COLUMN_NOTFOUND"):
        wait(one.first("b"))


def test_an_empty_batch_is_an_error(d1: D1Binding) -> None:
    """As on the platform."""
    with pytest.raises(D1Error, match="No SQL statements"):
        wait(d1.batch([]))


def test_d12_results_are_the_callers_own(d1: D1Binding) -> None:
    """Editing one result changes no other."""
    statement = d1.prepare(JOURNEY).bind("c1")
    wait(statement.all()).results.clear()
    assert len(wait(statement.run()).results) == 4


def test_columns_are_named_without_rows_too(engine: SqliteEngine) -> None:
    """An empty result knows its columns, and a statement after it its own."""
    executions = engine.execute(
        [Command("SELECT 1 AS a WHERE 0", ()), Command("SELECT 2 AS b", ())]
    )
    assert [execution.columns for execution in executions] == [("a",), ("b",)]
