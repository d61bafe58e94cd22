"""D1 on SQLite: the engine that executes and prices statements, and the D1 binding over it.

Each statement is priced by what SQLite did: its virtual machine counts the steps it took
(``SQLITE_STMTSTATUS_VM_STEP``, https://www.sqlite.org/c3ref/c_stmtstatus_counter.html).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import apsw

from reference_impl import migrations, schema
from reference_impl.ports import D1Error, D1ExecResult, D1Result, D1Statement, SqlValue

MAX_BOUND_VALUES = 100
"""https://developers.cloudflare.com/d1/platform/limits/"""

KNOWN_TEXTS = 1000
"""Statements whose columns are remembered."""


class Command(NamedTuple):
    """One statement with its values, ready to run."""

    sql: str
    values: tuple[SqlValue, ...]


class _Shape(NamedTuple):
    """What SQLite says of a statement before it runs."""

    columns: tuple[str, ...]
    readonly: bool


@dataclass(slots=True)
class Execution:
    """What one statement did: its rows, its effects, and what it cost SQLite."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    changes: int
    last_row_id: int
    vm_steps: int
    readonly: bool

    def result(self, **meta: Any) -> D1Result:
        """The execution as D1 answers it; a column named twice keeps its last value."""
        own = {
            "changes": self.changes,
            "last_row_id": self.last_row_id,
            "rows_read": len(self.rows),
            "vm_steps": self.vm_steps,
            "duration": 0.0,
        }
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return D1Result(rows, True, {**own, **meta}, self.rows, self.columns)


class SqliteEngine:
    """One SQLite connection. Not for use from several threads.

    Raises :class:`D1Error` with SQLite's own words for any statement that fails.
    """

    def __init__(self, path: str = ":memory:") -> None:
        self._connection = apsw.Connection(path)
        self._vm_steps = 0
        self._shape = _Shape((), True)
        self._known: dict[str, _Shape] = {}
        self._connection.exec_trace = self._note_shape
        self._connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._count_steps)

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

    def execute(self, commands: Sequence[Command]) -> list[Execution]:
        """Run one command, or several in one transaction that any failure undoes as a whole."""
        try:
            if len(commands) == 1:
                return [self._execute(commands[0])]
            with self._connection:
                executions = [self._execute(command) for command in commands]
        except (apsw.Error, OverflowError, UnicodeEncodeError) as error:
            raise D1Error(f"D1_ERROR: {error}") from None
        return executions

    def close(self) -> None:
        """Release the file; further use raises."""
        self._connection.close()

    def _execute(self, command: Command) -> Execution:
        before = self._connection.total_changes()
        rows = self._connection.execute(command.sql, command.values).fetchall()
        return Execution(
            self._shape.columns,
            rows,
            self._connection.total_changes() - before,
            self._connection.last_insert_rowid(),
            self._vm_steps,
            self._shape.readonly,
        )

    def _note_shape(self, cursor: apsw.Cursor | apsw.Connection, sql: str, _values: Any) -> bool:
        """Called before the first step, the only moment at which SQLite names the columns.

        A savepoint comes with the connection in place of a cursor and has none. To ask costs
        10 us, so the answer is kept for texts that name their columns themselves.
        """
        if isinstance(cursor, apsw.Connection):
            return True
        shape = self._known.get(sql)
        if shape is None:
            columns = tuple(column[0] for column in cursor.get_description())
            shape = _Shape(columns, cursor.is_readonly)
            if "*" not in sql and len(self._known) < KNOWN_TEXTS:
                self._known[sql] = shape
        self._shape = shape
        return True

    def _count_steps(self, event: dict[str, Any]) -> None:
        self._vm_steps = event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]


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
        for value in values:
            if value is not None and not isinstance(value, str | int | float | bytes):
                raise D1Error(f"D1_TYPE_ERROR: Type '{type(value).__name__}' not supported")
        return Statement(self._executor, Command(self.command.sql, values))

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
            raise D1Error("D1_ERROR: No SQL statements detected.")
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
    """Runs commands at once on an engine of this process, timed by the real clock."""

    def __init__(self, engine: SqliteEngine) -> None:
        self._engine = engine

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        started_ns = time.perf_counter_ns()
        executions = self._engine.execute(commands)
        each_ms = (time.perf_counter_ns() - started_ns) / len(commands) / 1e6
        return [execution.result(duration=each_ms) for execution in executions]
