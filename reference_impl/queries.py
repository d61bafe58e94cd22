"""The statements of the stack on D1. Every call leaves its cost as evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reference_impl.attribution import Credit, Touch
from reference_impl.events import Event
from reference_impl.messages import Context, D1Call
from reference_impl.ports import D1Error, D1Result, D1Statement, Runtime
from reference_impl.schema import JOURNEY_COLUMNS
from reference_impl.times import from_wall_us

MAX_BOUND_VALUES = 100
"""https://developers.cloudflare.com/d1/platform/limits/: values one statement may bind."""

_INSERT_EVENT = (
    f"INSERT INTO user_journeys ({', '.join(JOURNEY_COLUMNS)}) "
    f"VALUES ({', '.join('?' for _ in JOURNEY_COLUMNS)}) ON CONFLICT (event_id) DO NOTHING"
)

_JOURNEY = (
    "SELECT utm_source, event_timestamp FROM user_journeys WHERE conversion_id = ? "
    "ORDER BY event_timestamp, position, id"
)

_FORGET_ATTRIBUTION = "DELETE FROM multi_touch_attribution WHERE conversion_id = ?"

_CREDIT_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_CREDIT_ROWS_MAX = MAX_BOUND_VALUES // _CREDIT_ROW.count("?")
_INSERT_CREDITS = (
    "INSERT INTO multi_touch_attribution (conversion_id, attribution_model, touchpoint_index, "
    "utm_source, credit_percentage, role, created_at) VALUES "
)


class QueryOptimizer:
    """One isolate's access to D1: fixed statements that use the schema's indexes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def insert_event(self, ctx: Context, event: Event) -> bool:
        """Commit one event; false when its ``event_id`` is there already.

        Raises:
            D1Error: when it is not known to be stored.
        """
        created_at = from_wall_us(self._runtime.wall_us())
        statement = ctx.d1.prepare(_INSERT_EVENT).bind(*event.row(created_at))
        (result,) = await self._batch(ctx, "insert_event", [statement])
        return bool(result.meta["changes"])

    async def get_conversion_journey(self, ctx: Context, conversion_id: str) -> list[Touch]:
        """Every touch of a conversion, oldest first; equal times in the order of ``position``."""
        statement = ctx.d1.prepare(_JOURNEY).bind(conversion_id)
        (result,) = await self._batch(ctx, "get_conversion_journey", [statement])
        return [Touch(row["utm_source"], row["event_timestamp"]) for row in result.results]

    async def store_attribution(
        self,
        ctx: Context,
        conversion_id: str,
        journey: Sequence[Touch],
        credits_by_model: Mapping[str, Sequence[Credit]],
    ) -> None:
        """Replace what is stored of a conversion, in one transaction and one round trip."""
        created_at = from_wall_us(self._runtime.wall_us())
        rows = [
            (conversion_id, model, index, touch.utm_source, credit.percent, credit.role, created_at)
            for model, shares in credits_by_model.items()
            for index, (touch, credit) in enumerate(zip(journey, shares, strict=True))
        ]
        statements = [ctx.d1.prepare(_FORGET_ATTRIBUTION).bind(conversion_id)]
        for start in range(0, len(rows), _CREDIT_ROWS_MAX):
            statements.append(_insert_credits(ctx, rows[start : start + _CREDIT_ROWS_MAX]))
        await self._batch(ctx, "store_attribution", statements)

    async def _batch(
        self, ctx: Context, name: str, statements: Sequence[D1Statement]
    ) -> list[D1Result]:
        started_us = self._runtime.now_us()
        try:
            if len(statements) == 1:
                results = [await statements[0].all()]
            else:
                results = await ctx.d1.batch(statements)
        except D1Error:
            total_us = self._runtime.now_us() - started_us
            ctx.evidence.d1.append(D1Call(name, total_us, failed=True))
            raise
        total_us = self._runtime.now_us() - started_us
        ctx.evidence.d1.append(_call(name, total_us, results))
        return results


def _insert_credits(ctx: Context, rows: Sequence[tuple[Any, ...]]) -> D1Statement:
    sql = _INSERT_CREDITS + ", ".join([_CREDIT_ROW] * len(rows))
    return ctx.d1.prepare(sql).bind(*(value for row in rows for value in row))


def _call(name: str, total_us: int, results: Sequence[D1Result]) -> D1Call:
    """The evidence of one round trip; a batch waits and travels once, so its first result says."""
    first = results[0].meta
    sql_us = sum(round(result.meta["duration"] * 1000) for result in results)
    return D1Call(name, total_us, sql_us, first.get("wait_us"), first.get("round_trip_us"))
