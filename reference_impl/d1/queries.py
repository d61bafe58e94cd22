"""The statements of the stack on D1. Every call leaves its cost as evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reference_impl.attribution.models import Credit, Journey
from reference_impl.d1.arguments import (
    BadArgument,
    checked_count,
    checked_id,
    checked_model,
    checked_values,
)
from reference_impl.d1.bulk import Insertion, inserts
from reference_impl.d1.calls import D1Calls
from reference_impl.d1.channels import PERFORMANCE, VALUE_DECIMALS, account
from reference_impl.d1.conversions import (
    ATTRIBUTION_DATA,
    JOURNEY,
    journey_of,
    journeys_of,
    journeys_statement,
)
from reference_impl.d1.event_store import EventStore
from reference_impl.d1.history import MAX_JOURNEYS, MAX_PAGE, ChannelHistory, read_history
from reference_impl.d1.journeys import PAGE_SIZE, JourneyPage, Place, page_of, page_statement
from reference_impl.d1.migrations import READ_VERSION, VERSION
from reference_impl.d1.query_cache import QueryCache, Question, Row, RowKeys, is_question, tables_in
from reference_impl.d1.schema import CREDIT_COLUMNS
from reference_impl.d1.slow_queries import SlowQueryLog
from reference_impl.d1.statements import Command, marks
from reference_impl.messages import Context
from reference_impl.ports import D1Error, Runtime, SqlValue
from reference_impl.times import from_wall_us

MAX_CONVERSIONS = 90
"""Conversions one statement may name: under 100 bound values with its others."""

_FORGET_ATTRIBUTION = "DELETE FROM multi_touch_attribution WHERE conversion_id = ?"
_FORGET_MODEL = (
    "DELETE FROM multi_touch_attribution WHERE attribution_model = ? AND conversion_id IN ({})"
)

_SET_VALUE = (
    "INSERT INTO conversion_values (conversion_id, value) VALUES (?, ?) "
    "ON CONFLICT (conversion_id) DO UPDATE SET value = excluded.value"
)


class Attributed(NamedTuple):
    """A conversion's journey, the credit of each touch, and what is to be said of it."""

    journey: Journey
    shares: Sequence[Credit]
    note: str | None = None


class QueryOptimizer:
    """One isolate's access to D1: fixed statements that use the schema's indexes.

    The look-ups named after the specification keep their answer for a minute in ``cache``, of
    which this isolate's own writes are taken out. What the cache manager asks for itself (the
    journeys that attribution is computed from) is not kept here: it is in L1 and KV already, and
    a refresh must see what other isolates have written. Whoever puts another look-up behind the
    cache manager asks with ``fresh=True``.

    All raise :class:`D1Error` when D1 fails, and :class:`BadArgument` before anything travels.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._d1 = D1Calls(runtime)
        self.events = EventStore(self._d1)

    @property
    def cache(self) -> QueryCache:
        """The answers of the last minute."""
        return self._d1.cache

    @property
    def slow(self) -> SlowQueryLog:
        """The calls that took over 100 ms."""
        return self._d1.slow

    # ----------------------------------------------------------------- any statement

    async def execute(
        self,
        ctx: Context,
        sql: str,
        params: Sequence[SqlValue] = (),
        cache_parts: Sequence[str] | None = None,
    ) -> list[Row]:
        """The rows of a statement; with ``cache_parts`` kept for a minute under that name.

        A statement that may write takes out of the cache whatever rests on the tables it names.
        """
        values = checked_values(params)
        if not is_question(sql):
            if cache_parts is not None:
                raise BadArgument("only a single SELECT can be cached")
            try:
                return await self._d1.rows(ctx, "execute", sql, values)
            finally:
                self.cache.written(tables_in(sql))

        async def read() -> list[Row]:
            return await self._d1.rows(ctx, "execute", sql, values)

        if cache_parts is None:
            return await read()
        if isinstance(cache_parts, str) or not cache_parts:
            raise BadArgument("cache_parts must be a list of names")
        parts = tuple(checked_id("a part of a cache name", part) for part in cache_parts)
        return await self._d1.cached(Question(parts, sql, values, tables_in(sql)), read)

    def invalidate_cache(self, pattern: str) -> int:
        """Drop cached answers by name, where only ``*`` is special; how many there were.

        Names: ``journey:<user>:<conversion or all>``, ``attribution:<conversion>:<model>``,
        ``performance:<model>:<limit>`` and whatever :meth:`execute` was given.
        """
        return self.cache.invalidate(pattern)

    async def check_schema(self, ctx: Context) -> None:
        """Ask D1 for the version of its schema.

        Raises:
            D1Error: it does not answer, or has another schema than this program needs.
        """
        (row,) = await self._d1.rows(ctx, "check_schema", READ_VERSION, ())
        if row["version"] != VERSION:
            raise D1Error(f"D1_ERROR: schema version {row['version']}, needed is {VERSION}")

    # ----------------------------------------------------------------- journeys

    async def batch_insert(
        self, ctx: Context, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> int:
        """Insert all rows or none, in one round trip; how many are new.

        An event whose ``event_id`` is known counts once and is no error. Times may come in any
        form :func:`times.parse` takes; ``created_at`` is added where it is not given. Credits and
        values go into the sums of their channels.
        """
        insertion = Insertion(table, columns, rows, self._now())
        if not insertion.rows:
            return 0
        try:
            results = await self._d1.run(ctx, "batch_insert", insertion.commands)
        finally:
            self.cache.written({table: frozenset(), "channel_performance": frozenset()})
        return sum(int(result.meta["changes"]) for result in results[insertion.counted])

    async def get_user_journey(
        self, ctx: Context, user_id: str, conversion_id: str | None = None, *, fresh: bool = False
    ) -> list[Row]:
        """Every touch of a user, or those of one conversion, oldest first.

        Equal times come in the order of ``position``, then of arrival.
        """
        sql, values = page_statement(user_id, conversion_id, None, PAGE_SIZE)

        async def read() -> list[Row]:
            rows, after = await self.journey_page(ctx, user_id, conversion_id)
            while after is not None:
                more, after = await self.journey_page(ctx, user_id, conversion_id, after)
                rows += more
            return rows

        parts = ("journey", user_id, "all" if conversion_id is None else conversion_id)
        reads = {"user_journeys": frozenset([f"user_id={user_id}"])}
        return await self._d1.cached(Question(parts, sql, values, reads), read, fresh=fresh)

    async def journey_page(
        self,
        ctx: Context,
        user_id: str,
        conversion_id: str | None = None,
        after: Place | None = None,
        size: int = PAGE_SIZE,
    ) -> JourneyPage:
        """One page of :meth:`get_user_journey`, at most 500 touches; ``after`` of the page before
        leads to the next. Not cached. A touch that comes meanwhile moves no other to a page that
        was read."""
        sql, values = page_statement(user_id, conversion_id, after, size)
        return page_of(await self._d1.rows(ctx, "journey_page", sql, values), size)

    async def get_conversion_journey(self, ctx: Context, conversion_id: str) -> Journey:
        """The touches of a conversion that count; see :mod:`conversions`."""
        statement = ctx.d1.prepare(JOURNEY).bind(conversion_id)
        (result,) = await self._d1.batch(ctx, "get_conversion_journey", [statement], JOURNEY)
        return journey_of(result.results)

    async def get_conversion_journeys(
        self, ctx: Context, conversion_ids: Sequence[str]
    ) -> dict[str, Journey]:
        """The journeys of at most 90 conversions in one statement; of no touches for an unknown
        one."""
        checked_count("the number of conversions", len(conversion_ids), MAX_CONVERSIONS)
        sql, values = journeys_statement(conversion_ids)
        rows = await self._d1.rows(ctx, "get_conversion_journeys", sql, values)
        return journeys_of(conversion_ids, rows)

    async def channel_history(
        self, ctx: Context, *, page_size: int = MAX_PAGE, max_journeys: int = MAX_JOURNEYS
    ) -> ChannelHistory:
        """All stored journeys as paths of channels, one statement a page; see :mod:`history`."""
        checked_count("page_size", page_size, MAX_PAGE)
        checked_count("max_journeys", max_journeys, MAX_JOURNEYS)

        async def ask(sql: str, values: tuple[SqlValue, ...]) -> list[Row]:
            return await self._d1.rows(ctx, "channel_history", sql, values)

        return await read_history(ask, page_size=page_size, max_journeys=max_journeys)

    # ----------------------------------------------------------------- attribution

    async def store_attribution(
        self,
        ctx: Context,
        conversion_id: str,
        journey: Journey,
        credits_by_model: Mapping[str, Sequence[Credit]],
    ) -> None:
        """Replace all that is stored of a conversion, and what its channels have of it, in one
        transaction and one round trip."""
        rows = [
            row
            for model, shares in credits_by_model.items()
            for row in _credit_rows(conversion_id, model, Attributed(journey, shares))
        ]
        forget = (_FORGET_ATTRIBUTION, (conversion_id,))
        await self._replace(ctx, "store_attribution", [conversion_id], None, forget, rows)

    async def store_model(
        self, ctx: Context, model: str, attributed: Mapping[str, Attributed]
    ) -> None:
        """Replace what is stored of at most 90 conversions for one model; their other models
        stay. One transaction and one round trip, the channels included."""
        ids = list(attributed)
        checked_count("the number of conversions", len(ids), MAX_CONVERSIONS)
        rows = [row for each in ids for row in _credit_rows(each, model, attributed[each])]
        forget = (_FORGET_MODEL.format(marks(len(ids))), (model, *ids))
        await self._replace(ctx, "store_model", ids, model, forget, rows)

    async def set_conversion_value(self, ctx: Context, conversion_id: str, value: float) -> None:
        """Say what a conversion is worth, with two decimals; its channels' values follow."""
        checked_id("conversion_id", conversion_id)
        checked_values([value])
        if not isinstance(value, int | float) or value < 0:
            raise BadArgument("a conversion's value must be a number that is not negative")
        now = self._now()
        off, on = (account(sign, [conversion_id], None, now) for sign in (-1, 1))
        worth = (_SET_VALUE, (conversion_id, round(float(value), VALUE_DECIMALS)))
        try:
            await self._d1.run(ctx, "set_conversion_value", [*off, worth, *on])
        finally:
            self.cache.written(dict.fromkeys(("conversion_values", "channel_performance"), _ANY))

    async def get_attribution_data(
        self, ctx: Context, conversion_id: str, model: str, *, fresh: bool = False
    ) -> list[Row]:
        """The stored credits of a conversion, one row a touch, with what is known of the touch.

        A touch that came since the credits were stored may shift those after it; where the source
        shows it, what is known of the touch is None until the next refresh.
        """
        checked_id("conversion_id", conversion_id)
        parts = ("attribution", conversion_id, checked_model(model))
        values = (conversion_id, conversion_id, model)
        key = frozenset([f"conversion_id={conversion_id}"])
        question = Question(
            parts, ATTRIBUTION_DATA, values, {"user_journeys": key, "multi_touch_attribution": key}
        )

        async def read() -> list[Row]:
            return await self._d1.rows(ctx, "get_attribution_data", ATTRIBUTION_DATA, values)

        return await self._d1.cached(question, read, fresh=fresh)

    async def get_channel_performance(
        self, ctx: Context, model: str, limit: int = 50, *, fresh: bool = False
    ) -> list[Row]:
        """The channels with most credit, at most ``limit`` (1 to 1,000); see :mod:`channels`."""
        values = (checked_model(model), checked_count("limit", limit, 1000))
        question = Question(
            ("performance", model, str(limit)), PERFORMANCE, values, {"channel_performance": _ANY}
        )

        async def read() -> list[Row]:
            return await self._d1.rows(ctx, "get_channel_performance", PERFORMANCE, values)

        return await self._d1.cached(question, read, fresh=fresh)

    async def _replace(
        self,
        ctx: Context,
        name: str,
        conversion_ids: Sequence[str],
        model: str | None,
        forget: Command,
        rows: Sequence[_CreditRow],
    ) -> None:
        """Take the conversions off their channels' sums, write their rows anew, add them again."""
        now = self._now()
        off, on = (account(sign, conversion_ids, model, now) for sign in (-1, 1))
        stored = inserts("multi_touch_attribution", CREDIT_COLUMNS, [(*row, now) for row in rows])
        try:
            await self._d1.run(ctx, name, [*off, forget, *stored, *(on if rows else [])])
        finally:
            keys = frozenset(f"conversion_id={each}" for each in conversion_ids)
            self.cache.written({"multi_touch_attribution": keys, "channel_performance": _ANY})

    def _now(self) -> str:
        return from_wall_us(self._runtime.wall_us())


_ANY: RowKeys = frozenset()
_CreditRow = tuple[str, str, int, str | None, float, str | None]


def _credit_rows(conversion_id: str, model: str, attributed: Attributed) -> list[_CreditRow]:
    return [
        (conversion_id, model, index, touch.utm_source, credit.percent, credit.role)
        for index, (touch, credit) in enumerate(
            zip(attributed.journey.touches, attributed.shares, strict=True)
        )
    ]
