"""One isolate's stack: the request handlers and the queue consumer over caches and queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeGuard

from pydantic_core import to_json

from reference_impl.attribution.answers import attribution_text
from reference_impl.attribution.models import MODELS
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.d1.arguments import BadArgument
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.events import MAX_NAME, InvalidEvent, parse_events
from reference_impl.isolate.attributor import LEARNS, Attributor
from reference_impl.isolate.batch import BatchAttributionProcessor
from reference_impl.isolate.channel_metrics import ChannelMetrics
from reference_impl.isolate.ingest import Handled, Ingest
from reference_impl.isolate.refresh import Refresher
from reference_impl.keys import KV_MAX_KEY_BYTES, cache_key
from reference_impl.messages import Context, Response
from reference_impl.ports import D1Error, DeadlineExceeded, KVError, Message, QueueError, Runtime
from reference_impl.problem import problem, unavailable

ATTRIBUTION = "attribution"
TRACKING = "tracking"
ATTRIBUTION_BATCH = "attribution-batch"
CHANNELS = "channels"
INVALIDATION = "cache-invalidate"
READINESS = "readyz"
KV_PATIENCE_US = 1_000_000
"""A KV that takes longer to answer a probe counts as failing (assumption)."""

MAX_INVALIDATION_KEYS = 1000
MAX_BATCH_CONVERSIONS = 400
"""Of the 1,000 operations of KV that an invocation has, each takes two; see :mod:`batch`."""


class Worker:
    """What one isolate runs. It keeps caches between invocations and nothing of a request."""

    def __init__(self, runtime: Runtime, config: StackConfig) -> None:
        self._runtime = runtime
        self._config = config
        self._queries = QueryOptimizer(runtime)
        self.cache = CacheManager(runtime, config, self._forget_queries)
        self._attributor = Attributor(
            self.cache, self._queries, config.direct, config.history_journeys
        )
        self._channels = ChannelMetrics(runtime, self.cache, self._queries)
        self._batches = BatchAttributionProcessor(
            runtime, self.cache, self._queries, direct=config.direct
        )
        self.ingest = Ingest(runtime, self._queries.events, config.accept)
        self._refresher = Refresher(
            runtime, config, self.cache, self._queries, self._attributor, self._channels
        )

    async def attribution(self, ctx: Context, conversion_id: str, model: str) -> Response:
        """``GET /api/attribution/{conversion_id}?model=``: who is credited for a conversion."""
        if model not in MODELS:
            return problem(400, f"unknown model {model!r}; one of {', '.join(MODELS)}", ATTRIBUTION)
        if not 1 <= len(conversion_id) <= MAX_NAME:
            return problem(400, f"a conversion ID has 1 to {MAX_NAME} characters", ATTRIBUTION)

        async def fetch() -> str | None:
            journey = await self._queries.get_conversion_journey(ctx, conversion_id)
            if not journey.touches:
                return None
            credited = await self._attributor.credit(ctx, model, journey.touches)
            return attribution_text(conversion_id, model, journey, *credited)

        key = cache_key(ATTRIBUTION, conversion_id, model)
        try:
            text = await self.cache.get(ctx, ATTRIBUTION, key, fetch)
        except D1Error as error:
            return unavailable(str(error), ATTRIBUTION)
        if text is None:
            return problem(404, "no journey is stored for this conversion", ATTRIBUTION)
        return Response(200, text, ATTRIBUTION)

    async def attribution_batch(self, ctx: Context, body: Any) -> Response:
        """``POST /api/attribution/batch``: the same for many conversions, and stored in D1.

        ``body`` has ``conversion_ids`` and, unless it is to be ``last_click``, a ``model``. One
        result for each ID in the same order; what failed has an ``error`` and fails no other.
        """
        ids, model = _asked(body)
        if ids is None or not 1 <= len(ids) <= MAX_BATCH_CONVERSIONS:
            expected = f"expected 'conversion_ids', a list of 1 to {MAX_BATCH_CONVERSIONS} texts"
            return problem(400, f"{expected}, and a 'model'", ATTRIBUTION_BATCH)
        try:
            if model == LEARNS:
                self._batches.learn(await self._attributor.effects(ctx))
            results = await self._batches.process_batch(ctx, ids, model)
        except BadArgument as error:
            return problem(400, str(error), ATTRIBUTION_BATCH)
        except D1Error as error:
            return unavailable(str(error), ATTRIBUTION_BATCH)
        if not all(result.from_cache for result in results):
            self._channels.changed(ctx, [model])
        told = {"model": model, "results": [result.to_json() for result in results]}
        return Response(200, json.dumps(told, separators=(",", ":")), ATTRIBUTION_BATCH)

    async def channels(self, ctx: Context, model: str, limit: int) -> Response:
        """``GET /api/channels?model=&limit=``: the channels with most credit, largest first."""
        try:
            rows = await self._channels.top(ctx, model, limit)
        except BadArgument as error:
            return problem(400, str(error), CHANNELS)
        except D1Error as error:
            return unavailable(str(error), CHANNELS)
        told = {"model": model, "channels": rows}
        return Response(200, json.dumps(told, separators=(",", ":")), CHANNELS)

    async def ready(self, ctx: Context) -> Response:
        """``GET /readyz``: 200 if D1 answers with the schema of this program, else 503.

        Without KV the stack answers from D1, so a failing KV is told and no reason to be taken
        out of service.
        """
        try:
            await self._queries.check_schema(ctx)
        except D1Error as error:
            return unavailable(f"D1: {error}", READINESS)
        return Response(200, json.dumps({"ready": True, "kv": await self._kv(ctx)}), READINESS)

    async def _kv(self, ctx: Context) -> str:
        try:
            await self._runtime.deadline(_read_any(ctx), KV_PATIENCE_US)
        except (KVError, DeadlineExceeded) as error:
            return f"failing: {error}"
        return "ok"

    async def track(self, ctx: Context, body: Any) -> Response:
        """``POST /track``: 202 once all its events are durable; what follows comes behind.

        An event whose ``event_id`` is known is answered the same way and changes nothing.
        """
        try:
            events = parse_events(body)
        except InvalidEvent as error:
            return problem(400, str(error), TRACKING)
        try:
            taken = await self.ingest.take(ctx, events)
        except (D1Error, QueueError) as error:
            return unavailable(str(error), TRACKING)
        told = [
            {"event_id": event.identity(), "duplicate": None if is_new is None else not is_new}
            for event, is_new in zip(events, taken, strict=True)
        ]
        answer = {"events": told} if isinstance(body, list) else told[0]
        return Response(202, to_json({"accepted": True, **answer}).decode(), TRACKING)

    async def consume(self, ctx: Context, messages: Sequence[Message]) -> set[str]:
        """Handle one batch; the IDs of the messages to be delivered again.

        Events that come with their message are stored. A touch of a conversion brings its stored
        attribution and cached answers up to date; a touch of a visitor who has not converted
        changes neither. What cannot be understood is delivered again until it is a dead letter.
        """
        touched: dict[str, list[Handled]] = {}
        stored = await self.ingest.store(ctx, messages)
        done = [each for each in stored if each.conversion_id is None]
        for each in stored:
            if each.conversion_id is not None:
                touched.setdefault(each.conversion_id, []).append(each)
        works = (self._refresher.done(ctx, conversion_id) for conversion_id in touched)
        refreshed = await self._runtime.gather(works)
        for handled, is_done in zip(touched.values(), refreshed, strict=True):
            done += handled if is_done else []
        self.ingest.settle(ctx, done)
        return {message.id for message in messages} - {each.message_id for each in done}

    async def sweep(self, ctx: Context) -> int:
        """What a cron trigger starts every minute: :meth:`Ingest.sweep`."""
        return await self.ingest.sweep(ctx)

    async def invalidate(self, ctx: Context, body: Any) -> Response:
        """``POST /api/performance/cache-invalidate``: by ``keys`` or by ``prefix``, not both."""
        known = isinstance(body, dict) and body.keys() <= {"prefix", "keys"}
        prefix, keys = (body.get("prefix"), body.get("keys")) if known else (0, 0)
        try:
            if _is_key(prefix) and keys is None:
                done = await self.cache.invalidate_by_prefix(ctx, prefix)
            elif _are_keys(keys) and prefix is None:
                done = await self.cache.delete_many(ctx, keys)
            else:
                expected = f"a 'prefix', or 1 to {MAX_INVALIDATION_KEYS} 'keys'"
                detail = f"expected {expected}, each a text of 1 to {KV_MAX_KEY_BYTES} bytes"
                return problem(400, detail, INVALIDATION)
        except KVError as error:
            return unavailable(str(error), INVALIDATION)
        status = 200 if not done["kv_failed"] else 502
        return Response(status, json.dumps({"success": status == 200, "data": done}), INVALIDATION)

    def _forget_queries(self) -> None:
        self._queries.invalidate_cache("*")


async def _read_any(ctx: Context) -> None:
    await ctx.kv.get(cache_key("lookupData", READINESS))


def _asked(body: Any) -> tuple[list[Any] | None, Any]:
    """The IDs and the model of a batch; no IDs if it is none."""
    if not isinstance(body, dict) or body.keys() - {"conversion_ids", "model"}:
        return None, None
    ids = body.get("conversion_ids")
    return ids if isinstance(ids, list) else None, body.get("model", "last_click")


def _are_keys(keys: Any) -> TypeGuard[list[str]]:
    return (
        isinstance(keys, list)
        and 1 <= len(keys) <= MAX_INVALIDATION_KEYS
        and all(map(_is_key, keys))
    )


def _is_key(value: Any) -> TypeGuard[str]:
    """Whether KV could hold it as a key. JSON can carry text that is no Unicode, KV cannot."""
    try:
        return isinstance(value, str) and 1 <= len(value.encode()) <= KV_MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False
