"""The sums of the channels as a cached answer, and its invalidation when credits have changed.

All limits of a model share one entry, so that one deletion reaches them. Credits change with
every touch of a conversion; KV takes one write a second for a key, and a deletion for each touch
would cost more than the answer is worth. So changes within 30 s share one deletion at their end:
an answer is behind by that and by the bound of :attr:`CacheManager.elsewhere_within_s` at most,
or, if the isolate is stopped meanwhile, by the entry's own life.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from reference_impl.cache.manager import CacheManager
from reference_impl.d1.arguments import checked_count, checked_model
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.d1.query_cache import Row
from reference_impl.keys import cache_key
from reference_impl.messages import Context
from reference_impl.ports import Runtime

CACHE_TYPE = "channelMetrics"
MAX_CHANNELS = 1000

SPACING_US = 30_000_000
"""https://developers.cloudflare.com/workers/platform/limits/: what goes on behind an answer may
take so long."""


class ChannelMetrics:
    """One isolate's answers to which channels have most credit."""

    def __init__(self, runtime: Runtime, cache: CacheManager, queries: QueryOptimizer) -> None:
        self._runtime = runtime
        self._cache = cache
        self._queries = queries
        self._next_us = runtime.now_us()
        self._changed: dict[str, None] = {}

    async def top(self, ctx: Context, model: str, limit: int) -> list[Row]:
        """The channels with most credit by ``model``, at most ``limit`` (1 to 1,000).

        Raises:
            BadArgument: an unknown model, or another limit.
            D1Error: the sums were in no cache and could not be read.
        """
        checked_count("limit", limit, MAX_CHANNELS)
        checked_model(model)

        async def fetch() -> str:
            rows = await self._queries.get_channel_performance(ctx, model, MAX_CHANNELS, fresh=True)
            return json.dumps(rows, separators=(",", ":"))

        text = await self._cache.get(ctx, CACHE_TYPE, _key(model), fetch)
        assert text is not None  # fetch brings a list, if an empty one
        channels: list[Row] = json.loads(text)
        return channels[:limit]

    def changed(self, ctx: Context, models: Iterable[str]) -> None:
        """Credits by ``models`` have been stored: let their answers go, together with what else
        changes until then."""
        waiting = bool(self._changed)
        self._changed.update(dict.fromkeys(models))
        if not waiting:
            ctx.wait_until(self._let_go(ctx))

    async def _let_go(self, ctx: Context) -> None:
        try:
            await self._runtime.sleep_until(self._next_us)
        finally:
            models, self._changed = self._changed, {}
            self._next_us = self._runtime.now_us() + SPACING_US
        await self._cache.delete_many(ctx, map(_key, models))


def _key(model: str) -> str:
    return cache_key(CACHE_TYPE, "performance", model)
