"""D1 on SQLite: the engine that executes and prices statements, and the D1 binding over it.

Each statement is priced by what SQLite did: its virtual machine counts the steps it took
(``SQLITE_STMTSTATUS_VM_STEP``, https://www.sqlite.org/c3ref/c_stmtstatus_counter.html).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import apsw

from reference_impl import migrations, schema
from reference_impl.adapters.d1_rules import (
    AS_THEY_ARE,
    LIMITS,
    MAX_BOUND_VALUES,
    NO_STATEMENT,
    ONLY_LAST_HAS_VALUES,
    bound,
    may,
    may_be_several,
    refusal,
)
from reference_impl.ports import D1Error, D1ExecResult, D1Result, D1Statement, SqlValue

KNOWN_TEXTS = 1000
"""Statements whose columns are remembered."""

BUSY_MS = 5000

ERRORS = (D1Error, apsw.Error, OverflowError, UnicodeEncodeError)


class Command(NamedTuple):
    """One statement with its values, ready to run."""

    sql: str
    values: tuple[SqlValue, ...]


class _Shape(NamedTuple):
    """What SQLite says of a statement before it runs."""

    columns: tuple[str, ...]
    readonly: bool
    values: int


_NOTHING = _Shape((), True, 0)
"""Stands for the statement when none has begun."""


@dataclass(slots=True)
class Execution:
    """What one statement did: its rows, its effects, and what it cost SQLite."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    changes: int
    last_row_id: int
    vm_steps: int
    readonly: bool
    sql_ms: float = 0.0

    def result(self, **meta: Any) -> D1Result:
        """The execution as D1 answers it; a column named twice keeps its last value."""
        own = {
            "changes": self.changes,
            "last_row_id": self.last_row_id,
            "rows_read": len(self.rows),
            "vm_steps": self.vm_steps,
            "duration": self.sql_ms,
        }
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return D1Result(rows, True, {**own, **meta}, self.rows, self.columns)


class SqliteEngine:
    """One SQLite connection under D1's rules. Not for use from several threads at once.

    Raises :class:`D1Error` with SQLite's own words for any statement that fails.
    """

    def __init__(self, path: str = ":memory:") -> None:
        self.path = path
        self._connection = apsw.Connection(path)
        self._connection.execute("PRAGMA foreign_keys = ON")
        for limit, most in LIMITS.items():
            self._connection.limit(limit, most)
        self._connection.transaction_mode = "IMMEDIATE"
        self._connection.authorizer = self._authorize
        self._ours = True
        self._vm_steps = 0
        self._shape = _NOTHING
        self._rows: list[tuple[Any, ...]] = []
        self._known: dict[str, _Shape] = {}
        self._connection.exec_trace = self._note_shape
        self._connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._count_steps)

    @classmethod
    def from_file(cls, path: str) -> SqliteEngine:
        """The database in the file ``path``, made if there is none: with a write-ahead log, and
        a commit is on disk when it returns. Waits up to 5 s for another process's write, and
        raises ``apsw.Error`` when it cannot be opened or is no database."""
        engine = cls(path)
        connection = engine._connection
        connection.set_busy_timeout(BUSY_MS)
        ((mode,),) = connection.execute("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise apsw.CantOpenError(f"the journal mode is {mode}, not wal")
        connection.execute("PRAGMA synchronous = FULL")
        return engine

    def durability(self) -> tuple[str, int]:
        """The journal mode and SQLite's number for ``synchronous``, of which 2 is FULL."""
        ((mode,),) = self._connection.execute("PRAGMA journal_mode")
        ((synchronous,),) = self._connection.execute("PRAGMA synchronous")
        return mode, synchronous

    def has_journeys(self) -> bool:
        """Whether there is any event in the database."""
        ((found,),) = self._connection.execute("SELECT EXISTS (SELECT 1 FROM user_journeys)")
        return bool(found)

    @classmethod
    def from_snapshot(cls, snapshot: bytes) -> SqliteEngine:
        """A database in memory with the content of :meth:`snapshot`."""
        engine = cls()
        engine._connection.deserialize("main", snapshot)
        return engine

    def snapshot(self) -> bytes:
        """The whole database as bytes."""
        return bytes(self._connection.serialize("main"))

    def migrate(self, drop_indexes: frozenset[str] = frozenset()) -> None:
        """Bring the database to today's schema and drop the indexes named; safe to run again.

        Raises:
            ValueError: when the database is newer than this program.
        """
        with self._connection:
            self._connection.execute(migrations.CREATE_VERSION)
            ((version, used),) = self._connection.execute(migrations.READ_STATE)
            for statement in migrations.statements(
                version, used=bool(used), drop_indexes=drop_indexes
            ):
                self._connection.execute(statement)
            for name in sorted(drop_indexes):
                self._connection.execute(f"DROP INDEX IF EXISTS {name}")

    def insert_journeys(self, rows: Iterable[Sequence[SqlValue]]) -> None:
        """Bulk-load rows of ``user_journeys``, values in the order of ``JOURNEY_COLUMNS``."""
        columns = ", ".join(schema.JOURNEY_COLUMNS)
        marks = ", ".join("?" for _ in schema.JOURNEY_COLUMNS)
        with self._connection:
            self._connection.executemany(
                f"INSERT INTO user_journeys ({columns}) VALUES ({marks})", rows
            )

    def execute(
        self, commands: Sequence[Command], check: Callable[[list[Execution]], object] = bool
    ) -> list[Execution]:
        """Run commands in one transaction that any failure undoes as a whole; so does a
        :class:`D1Error` of ``check``, which is shown what a transaction did before it holds.

        A single one needs it too: it may hold several statements, and within a transaction
        foreign keys cannot be turned off. Only a SELECT that is known does not.
        """
        outermost = not self._connection.in_transaction
        executions: list[Execution] = []
        failure: Exception | None = None
        try:
            if len(commands) == 1 and self._is_select(commands[0].sql):
                return [self._execute(commands[0])]
            with self._connection:
                try:
                    executions += map(self._execute, commands)
                    check(executions)
                except Exception as error:
                    failure = error  # which a rollback that fails would hide
                    raise
        except ERRORS as error:
            if outermost:
                self._roll_back()
            raise refusal(failure or error) from None
        return executions

    def execute_together(
        self, calls: Sequence[Sequence[Command]]
    ) -> list[list[Execution] | D1Error]:
        """Run the commands of several callers with one commit; what each would be told.

        If anything fails, everything is undone and each call is run by itself, so that none can
        have to do with another's failure, not even one that rolls back the whole transaction.
        """
        outcomes: list[list[Execution] | D1Error]
        if len(calls) > 1:
            try:
                with self._connection:
                    outcomes = [self.execute(commands) for commands in calls]
                return outcomes
            except (D1Error, apsw.Error):
                self._roll_back()
        return [self._outcome(commands) for commands in calls]

    def _is_select(self, sql: str) -> bool:
        known = self._known.get(sql)
        return known is not None and known.readonly and sql.startswith("SELECT")

    def _roll_back(self) -> None:
        """A commit that failed, for a foreign key that had been deferred, leaves all as it was."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK", can_cache=False)

    def _outcome(self, commands: Sequence[Command]) -> list[Execution] | D1Error:
        try:
            return self.execute(commands)
        except D1Error as error:
            return error

    def close(self) -> None:
        """Release the file; further use raises."""
        self._connection.close()

    def _execute(self, command: Command) -> Execution:
        started_ns = time.perf_counter_ns()
        before = self._connection.total_changes()
        self._shape, self._vm_steps, self._ours = _NOTHING, 0, False
        try:
            rows = self._rows_of(command)
        finally:
            self._ours = True
        if self._shape is _NOTHING:
            raise D1Error(NO_STATEMENT)
        return Execution(
            self._shape.columns,
            rows,
            self._connection.total_changes() - before,
            self._connection.last_insert_rowid(),
            self._vm_steps,
            self._shape.readonly,
            (time.perf_counter_ns() - started_ns) / 1e6,
        )

    def _rows_of(self, command: Command) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(command.sql, command.values)
        if not may_be_several(command.sql):
            return cursor.fetchall()
        rows = self._rows = []  # emptied when the next statement begins
        rows.extend(cursor)
        return rows

    def _authorize(
        self, action: int, first: str | None, second: str | None, _db: str | None, _by: str | None
    ) -> int:
        """Asked while a statement is compiled. Transactions are the engine's alone."""
        return apsw.SQLITE_OK if self._ours or may(action, first, second) else apsw.SQLITE_DENY

    def _note_shape(self, cursor: apsw.Cursor | apsw.Connection, sql: str, _values: Any) -> bool:
        """Called before the first step, the only moment at which SQLite names the columns.

        A savepoint comes with the connection in place of a cursor and has none. To ask costs
        10 us, so the answer is kept for texts that name their columns themselves.
        """
        if isinstance(cursor, apsw.Connection):
            return True
        if not cursor.has_vdbe:  # blanks or a remark, which the platform does not take for nothing
            raise D1Error(NO_STATEMENT)
        shape = self._known.get(sql)
        if shape is None:
            columns = tuple(column[0] for column in cursor.get_description())
            shape = _Shape(columns, cursor.is_readonly, cursor.bindings_count)
            if "*" not in sql and len(self._known) < KNOWN_TEXTS:
                self._known[sql] = shape
        if self._shape is not _NOTHING and not self._ours:
            shape = self._next_of_several(shape)
        self._shape = shape
        return True

    def _next_of_several(self, shape: _Shape) -> _Shape:
        """Another statement of the same text: its rows are the answer, not those before it."""
        if self._shape.values:
            raise D1Error(ONLY_LAST_HAS_VALUES)
        self._rows.clear()
        return shape._replace(readonly=shape.readonly and self._shape.readonly)

    def _count_steps(self, event: dict[str, Any]) -> None:
        self._vm_steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]


class Executor(Protocol):
    """Whoever runs commands for the binding: at once here, after a modelled delay in the world."""

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]: ...


class Statement:
    """``prepare(sql)`` and ``bind(...)`` of the D1 binding; immutable."""

    __slots__ = ("_executor", "command")

    def __init__(self, executor: Executor, command: Command) -> None:
        self._executor = executor
        self.command = command

    def bind(self, *values: SqlValue) -> Statement:
        """The statement with these values.

        Raises:
            D1Error: for more than 100 values, or one that SQLite has no type for.
        """
        if len(values) > MAX_BOUND_VALUES:
            raise D1Error(f"D1_ERROR: too many SQL variables ({len(values)}, at most 100)")
        taken = tuple(v if type(v) in AS_THEY_ARE else bound(v) for v in values)
        return Statement(self._executor, Command(self.command.sql, taken))

    async def all(self) -> D1Result:
        """Every row, as dictionaries."""
        (result,) = await self._executor.execute([self.command])
        return result

    async def run(self) -> D1Result:
        """The same as :meth:`all`; meant for statements whose rows do not matter."""
        return await self.all()

    async def first(self, column: str | None = None) -> Any:
        """The first row, or one column of it; ``None`` when there is no row.

        Raises:
            D1Error: when the row has no such column.
        """
        rows = (await self.all()).results
        if not rows or column is None:
            return rows[0] if rows else None
        if column not in rows[0]:
            raise D1Error(f"D1_COLUMN_NOTFOUND: Column not found ({column})")
        return rows[0][column]

    async def raw(self, column_names: bool = False) -> list[list[Any]]:
        """Every row, as a list of values; a column named twice keeps both. With ``column_names``
        the names come first, also when there is no row."""
        result = await self.all()
        rows = [list(row) for row in result.raw]
        return [list(result.columns), *rows] if column_names else rows


class D1Binding:
    """``prepare`` and ``batch`` of the D1 binding over an executor."""

    __slots__ = ("_executor",)

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def prepare(self, sql: str) -> Statement:
        """A statement without values yet."""
        return Statement(self._executor, Command(sql, ()))

    async def batch(self, statements: Sequence[D1Statement]) -> list[D1Result]:
        """All statements, each from :meth:`prepare`, in one transaction.

        Raises:
            D1Error: when one failed (then none took effect), or there was none.
        """
        if not statements:
            raise D1Error(NO_STATEMENT)
        own = cast(Sequence[Statement], statements)
        return await self._executor.execute([statement.command for statement in own])

    async def exec(self, sql: str) -> D1ExecResult:
        """Run ``sql``, which has one statement a line, all of it or nothing.

        Raises:
            D1Error: when a statement failed, or there was none.
        """
        lines = [line for line in sql.split("\n") if line.strip()]
        try:
            results = await self.batch([self.prepare(line) for line in lines])
        except D1Error as error:
            raise D1Error(f"D1_EXEC_ERROR: {str(error).removeprefix('D1_ERROR: ')}") from None
        return D1ExecResult(len(results), sum(result.meta["duration"] for result in results))


class DirectExecutor:
    """Runs commands at once on an engine of this process."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.engine = engine

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        return [execution.result() for execution in self.engine.execute(commands)]

    async def close(self) -> None:
        """Forget the database."""
        self.engine.close()
