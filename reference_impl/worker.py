"""One isolate's stack: the request handlers and the queue consumer over caches and queries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeGuard

from reference_impl.answers import attribution_text
from reference_impl.attribution import MODELS
from reference_impl.attributor import Attributor
from reference_impl.cache import CacheManager
from reference_impl.config import StackConfig
from reference_impl.events import MAX_NAME, Event, InvalidEvent, parse_event
from reference_impl.keys import KV_MAX_KEY_BYTES, cache_key
from reference_impl.messages import Context, Response
from reference_impl.ports import D1Error, KVError, Latch, Message, QueueError, Runtime
from reference_impl.queries import QueryOptimizer

ATTRIBUTION = "attribution"
TRACKING = "tracking"
MAX_INVALIDATION_KEYS = 1000


class Worker:
    """What one isolate runs. It keeps caches between invocations and nothing of a request."""

    def __init__(self, runtime: Runtime, config: StackConfig) -> None:
        self._runtime = runtime
        self._config = config
        self._queries = QueryOptimizer(runtime)
        self._waiting: dict[str, Latch] = {}
        self._running: dict[str, Latch] = {}
        self.cache = CacheManager(runtime, config, self._forget_queries)
        self._attributor = Attributor(
            self.cache, self._queries, config.direct, config.history_journeys
        )
        self.sends_failed = 0

    async def attribution(self, ctx: Context, conversion_id: str, model: str) -> Response:
        """``GET /api/attribution/{conversion_id}?model=``: who is credited for a conversion."""
        if model not in MODELS:
            return problem(400, f"unknown model {model!r}; one of {', '.join(MODELS)}", ATTRIBUTION)
        if not 1 <= len(conversion_id) <= MAX_NAME:
            return problem(400, f"a conversion ID has 1 to {MAX_NAME} characters", ATTRIBUTION)

        async def fetch() -> str | None:
            journey = await self._queries.get_conversion_journey(ctx, conversion_id)
            if not journey:
                return None
            credited = await self._attributor.credit(ctx, model, journey)
            return attribution_text(conversion_id, model, journey, *credited)

        key = cache_key(ATTRIBUTION, conversion_id, model)
        try:
            text = await self.cache.get(ctx, ATTRIBUTION, key, fetch)
        except D1Error as error:
            return problem(503, str(error), ATTRIBUTION)
        if text is None:
            return problem(404, "no journey is stored for this conversion", ATTRIBUTION)
        return Response(200, text, ATTRIBUTION)

    async def track(self, ctx: Context, body: Any) -> Response:
        """``POST /track``: 202 once the event is committed in D1; what follows comes behind.

        An event whose ``event_id`` is known is answered the same way and changes nothing.
        """
        try:
            event = parse_event(body)
        except InvalidEvent as error:
            return problem(400, str(error), TRACKING)
        try:
            inserted = await self._queries.insert_event(ctx, event)
        except D1Error as error:
            return problem(503, str(error), TRACKING)
        if inserted:
            ctx.wait_until(self._announce(ctx, event))
        answer = {"accepted": True, "event_id": event.identity(), "duplicate": not inserted}
        return Response(202, json.dumps(answer), TRACKING)

    async def consume(self, ctx: Context, messages: Sequence[Message]) -> set[str]:
        """Handle one batch; the IDs of the messages to be delivered again.

        A touch of a conversion brings its stored attribution and cached answers up to date; a
        touch of a visitor who has not converted changes neither.
        """
        touched: dict[str, list[str]] = {}
        for message in messages:
            conversion_id = message.body.get("conversion_id")
            if conversion_id is not None:
                touched.setdefault(conversion_id, []).append(message.id)
        works = (self._refresh_or_fail(ctx, conversion_id) for conversion_id in touched)
        refreshed = await self._runtime.gather(works)
        return {
            message_id
            for message_ids, done in zip(touched.values(), refreshed, strict=True)
            if not done
            for message_id in message_ids
        }

    async def invalidate(self, ctx: Context, body: Any) -> Response:
        """``POST /api/performance/cache-invalidate``: by ``keys`` or by ``prefix``, not both."""
        route = "cache-invalidate"
        prefix, keys = (body.get("prefix"), body.get("keys")) if isinstance(body, dict) else (0, 0)
        try:
            if _is_key(prefix) and keys is None:
                done = await self.cache.invalidate_by_prefix(ctx, prefix)
            elif _are_keys(keys) and prefix is None:
                done = await self.cache.delete_many(ctx, keys)
            else:
                expected = f"a 'prefix', or 1 to {MAX_INVALIDATION_KEYS} 'keys'"
                detail = f"expected {expected}, each a text of 1 to {KV_MAX_KEY_BYTES} bytes"
                return problem(400, detail, route)
        except KVError as error:
            return problem(503, str(error), route)
        status = 200 if not done["kv_failed"] else 502
        return Response(status, json.dumps({"success": status == 200, "data": done}), route)

    def _forget_queries(self) -> None:
        self._queries.invalidate_cache("*")

    async def _announce(self, ctx: Context, event: Event) -> None:
        """Queue what follows from a committed event. A failed send is counted; the row stands."""
        try:
            await ctx.queue.send(
                {"event_id": event.identity(), "conversion_id": event.conversion_id}
            )
        except QueueError:
            self.sends_failed += 1

    async def _refresh_or_fail(self, ctx: Context, conversion_id: str) -> bool:
        try:
            await self._refresh_once(ctx, conversion_id)
        except (D1Error, KVError):
            return False
        return True

    async def _refresh_once(self, ctx: Context, conversion_id: str) -> None:
        """Refresh a conversion, sharing one that has not yet read the journey.

        Refreshes of one conversion run one after the other, so the last one's value stands. KV
        takes one write a second for a key, so a second touch within it waits for the key's turn;
        every further touch until then is covered by that same refresh.
        """
        if (waiting := self._waiting.get(conversion_id)) is not None:
            await waiting.wait()
            return
        self._waiting[conversion_id] = latch = self._runtime.latch()
        try:
            await self._turn(conversion_id)
            self._running[conversion_id] = self._waiting.pop(conversion_id)
            await self._refresh(ctx, conversion_id)
        except Exception as error:
            latch.fail(error)
            raise
        except BaseException:
            latch.fail(KVError("the refresh was cancelled"))
            raise
        else:
            latch.set()
        finally:
            for stage in (self._waiting, self._running):
                if stage.get(conversion_id) is latch:
                    del stage[conversion_id]

    async def _turn(self, conversion_id: str) -> None:
        """Wait until no refresh of the conversion runs and its keys may be written again."""
        if (running := self._running.get(conversion_id)) is not None:
            with suppress(D1Error, KVError):  # told to those who asked for that one
                await running.wait()
        keys = (cache_key(ATTRIBUTION, conversion_id, m) for m in self._config.attribution_models)
        await self._runtime.sleep_until(max(self.cache.l2.next_put_us(key) for key in keys))

    async def _refresh(self, ctx: Context, conversion_id: str) -> None:
        journey = await self._queries.get_conversion_journey(ctx, conversion_id)
        credited = {
            model: await self._attributor.credit(ctx, model, journey)
            for model in self._config.attribution_models
        }
        shares = {model: each.shares for model, each in credited.items()}
        await self._queries.store_attribution(ctx, conversion_id, journey, shares)
        await self._runtime.gather(
            self.cache.set(
                ctx,
                ATTRIBUTION,
                cache_key(ATTRIBUTION, conversion_id, model),
                attribution_text(conversion_id, model, journey, *each) if journey else None,
            )
            for model, each in credited.items()
        )


def problem(
    status: int, detail: str, route: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as RFC 9457 problem details."""
    extra = tuple((headers or {}).items())
    body = json.dumps({"status": status, "detail": detail})
    return Response(status, body, route, (("content-type", "application/problem+json"), *extra))


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
