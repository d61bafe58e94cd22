"""Calls to D1: each leaves its cost as evidence, slow ones are logged, answers may be kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from reference_impl.d1.query_cache import QueryCache, Question, Row
from reference_impl.d1.slow_queries import SLOW_US, SlowQuery, SlowQueryLog
from reference_impl.d1.statements import Command
from reference_impl.messages import Context, D1Call
from reference_impl.ports import D1Error, D1Result, D1Statement, Runtime, SqlValue


class D1Calls:
    """One isolate's calls. What they read is kept by :meth:`cached` only."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.cache = QueryCache(runtime.now_us)
        self.slow = SlowQueryLog()

    async def rows(
        self, ctx: Context, name: str, sql: str, values: Sequence[SqlValue]
    ) -> list[Row]:
        """The rows of one statement."""
        (result,) = await self.run(ctx, name, [(sql, tuple(values))])
        return result.results

    async def run(self, ctx: Context, name: str, commands: Sequence[Command]) -> list[D1Result]:
        """The results of statements in one round trip; of several, all take effect or none."""
        statements = [ctx.d1.prepare(sql).bind(*values) for sql, values in commands]
        return await self.batch(ctx, name, statements, commands[0][0])

    async def batch(
        self, ctx: Context, name: str, statements: Sequence[D1Statement], sql: str
    ) -> list[D1Result]:
        """The same for statements that are bound already; ``sql`` is what a log would show."""
        started_us = self._runtime.now_us()
        try:
            if len(statements) == 1:
                results = [await statements[0].all()]
            else:
                results = await ctx.d1.batch(statements)
        except D1Error:
            total_us = self._runtime.now_us() - started_us
            self._note(ctx, D1Call(name, total_us, failed=True), sql)
            raise
        total_us = self._runtime.now_us() - started_us
        self._note(ctx, _call(name, total_us, results), sql)
        return results

    async def cached(
        self, question: Question, read: Callable[[], Awaitable[list[Row]]], *, fresh: bool = False
    ) -> list[Row]:
        """The kept answer to ``question``, or what ``read`` brings, then kept.

        With ``fresh`` it is read and not kept. An error is not kept either.
        """
        if fresh:
            return await read()
        kept = self.cache.get(question)
        if kept is not None:
            return kept
        reading = self.cache.begin(question)
        try:
            rows = await read()
            self.cache.keep(reading, rows)
        except BaseException:
            self.cache.forget(reading)
            raise
        return rows

    def _note(self, ctx: Context, call: D1Call, sql: str) -> None:
        ctx.evidence.d1.append(call)
        if call.total_us > SLOW_US:
            ended = self._runtime.wall_us()
            self.slow.note(SlowQuery(call.name, call.total_us, ended, call.failed, sql))


def _call(name: str, total_us: int, results: Sequence[D1Result]) -> D1Call:
    """The evidence of one round trip; a batch waits and travels once, so its first result says."""
    first = results[0].meta
    sql_us = sum(round(result.meta["duration"] * 1000) for result in results)
    return D1Call(name, total_us, sql_us, first.get("wait_us"), first.get("round_trip_us"))
