"""D1 on SQLite: the engine that executes and prices statements.

Each statement is priced by what SQLite did: its virtual machine counts the steps it took
(``SQLITE_STMTSTATUS_VM_STEP``, https://www.sqlite.org/c3ref/c_stmtstatus_counter.html).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import apsw

from reference_impl.adapters.d1_rules import (
    LIMITS,
    NO_STATEMENT,
    ONLY_LAST_HAS_VALUES,
    may,
    may_be_several,
    refusal,
)
from reference_impl.d1 import migrations, schema
from reference_impl.ports import D1Error, D1Result, SqlValue

KNOWN_TEXTS = 1000
"""Statements whose columns are remembered."""

BUSY_MS = 5000

_ALONE = re.compile(r"SELECT|INSERT INTO|DELETE FROM|UPDATE (?!\s*OR\b)", re.IGNORECASE)
"""How statements begin that SQLite itself undoes when they fail, as INSERT OR FAIL is not."""

ERRORS = (D1Error, apsw.Error, OverflowError, UnicodeEncodeError)


class Command(NamedTuple):
    """One statement with its values, ready to run."""

    sql: str
    values: tuple[SqlValue, ...]


class _Shape(NamedTuple):
    """What SQLite says of a statement before it runs; ``alone`` if it takes effect as a whole or
    not at all without a transaction around it, and has no other behind it."""

    columns: tuple[str, ...]
    readonly: bool
    values: int
    alone: bool = False


_NOTHING = _Shape((), True, 0)
"""Stands for the statement when none has begun."""


class Execution(NamedTuple):
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
        columns, rows, changes, last_row_id, _vm_steps, _readonly, sql_ms = self
        about = {
            "changes": changes,
            "last_row_id": last_row_id,
            "rows_read": len(rows),
            "duration": sql_ms,
            **meta,
        }
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        return D1Result(named, True, about, rows, columns)


Check = Callable[[list[Execution]], object]


class SqliteEngine:
    """One SQLite connection under D1's rules. Not for use from several threads at once.

    Raises :class:`D1Error` with SQLite's own words for any statement that fails. Unless ``priced``,
    the steps of statements are not counted, which is an eighth of the time of an insertion.
    """

    def __init__(self, path: str = ":memory:", *, priced: bool = True) -> None:
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
        if priced:
            self._connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._count_steps)

    @classmethod
    def from_file(cls, path: str) -> SqliteEngine:
        """The database in the file ``path``, made if there is none: with a write-ahead log, and
        a commit is on disk when it returns. Waits up to 5 s for another process's write, and
        raises ``apsw.Error`` when it cannot be opened or is no database."""
        engine = cls(path, priced=False)
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

    def execute(self, commands: Sequence[Command], check: Check | None = None) -> list[Execution]:
        """Run commands in one transaction that any failure undoes as a whole; so does a
        :class:`D1Error` of ``check``, which is shown what a transaction did before it holds.

        A single one needs it too: it may hold several statements, and within a transaction
        foreign keys cannot be turned off. Only one that is known to stand alone does not.
        """
        outermost = not self._connection.in_transaction
        executions: list[Execution] = []
        failure: Exception | None = None
        try:
            if len(commands) == 1 and self._stands_alone(commands[0].sql, check):
                return [self._execute(commands[0])]
            with self._connection:
                try:
                    executions += map(self._execute, commands)
                    if check is not None:
                        check(executions)
                except Exception as error:
                    failure = error  # which a rollback that fails would hide
                    raise
        except ERRORS as error:
            if outermost:
                self._roll_back()
            raise refusal(failure or _first(error)) from None
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

    def _stands_alone(self, sql: str, check: Check | None) -> bool:
        """Whether the statement needs no transaction: nothing of it, and nobody who checks it,
        could have to undo it."""
        known = self._known.get(sql)
        return known is not None and known.alone and (known.readonly or check is None)

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
            alone = _ALONE.match(sql) is not None and not may_be_several(sql)
            shape = _Shape(columns, cursor.is_readonly, cursor.bindings_count, alone)
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


def _first(error: Exception) -> Exception:
    """The error of a commit, which that of undoing it would hide: apsw calls the authorizer while
    the first one is set, and takes that for a refusal."""
    before = error.__context__
    return before if isinstance(before, apsw.Error) else error
