"""The D1 binding: statements, batches and their results over whoever runs the commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from reference_impl.adapters.d1_rules import AS_THEY_ARE, NO_STATEMENT, bound
from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.d1.statements import MAX_BOUND_VALUES
from reference_impl.ports import D1Error, D1ExecResult, D1Result, D1Statement, SqlValue


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
        taken = values if AS_THEY_ARE.issuperset(map(type, values)) else tuple(map(bound, values))
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
