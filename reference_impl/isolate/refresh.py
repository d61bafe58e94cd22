"""What follows from a touch: the conversion is attributed anew, in D1 and in the caches."""

from __future__ import annotations

from contextlib import suppress

from reference_impl.attribution.answers import attribution_text
from reference_impl.attribution.models import MODELS
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.isolate.attributor import Attributor
from reference_impl.isolate.batch import CACHE_TYPE
from reference_impl.isolate.channel_metrics import ChannelMetrics
from reference_impl.keys import cache_key
from reference_impl.messages import Context
from reference_impl.ports import D1Error, KVError, Latch, Runtime


class Refresher:
    """One isolate's refreshes: those of one conversion follow one another."""

    def __init__(
        self,
        runtime: Runtime,
        config: StackConfig,
        cache: CacheManager,
        queries: QueryOptimizer,
        attributor: Attributor,
        channels: ChannelMetrics,
    ) -> None:
        self._runtime = runtime
        self._config = config
        self._cache = cache
        self._queries = queries
        self._attributor = attributor
        self._channels = channels
        self._waiting: dict[str, Latch] = {}
        self._running: dict[str, Latch] = {}

    async def done(self, ctx: Context, conversion_id: str) -> bool:
        """Refresh a conversion; false when D1 or KV failed and it is to be tried again."""
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
        keys = (cache_key(CACHE_TYPE, conversion_id, m) for m in self._config.attribution_models)
        await self._runtime.sleep_until(max(self._cache.l2.next_put_us(key) for key in keys))

    async def _refresh(self, ctx: Context, conversion_id: str) -> None:
        journey = await self._queries.get_conversion_journey(ctx, conversion_id)
        credited = {
            model: await self._attributor.credit(ctx, model, journey.touches)
            for model in self._config.attribution_models
        }
        shares = {model: each.shares for model, each in credited.items()}
        await self._queries.store_attribution(ctx, conversion_id, journey, shares)
        self._channels.changed(ctx, shares)
        texts = {
            model: attribution_text(conversion_id, model, journey, *each)
            if journey.touches
            else None
            for model, each in credited.items()
        }
        ctx.wait_until(self._let_others_go(ctx, conversion_id))
        await self._runtime.gather(
            self._set(ctx, conversion_id, model, text) for model, text in texts.items()
        )

    async def _set(self, ctx: Context, conversion_id: str, model: str, text: str | None) -> None:
        await self._cache.set(ctx, CACHE_TYPE, cache_key(CACHE_TYPE, conversion_id, model), text)

    async def _let_others_go(self, ctx: Context, conversion_id: str) -> None:
        """Answers by models that are not kept up to date are computed when they are asked for.

        This goes on behind the handling: a deletion that fails for good is counted, and such an
        answer then lives on to its own end.
        """
        others = [model for model in MODELS if model not in self._config.attribution_models]
        keys = [cache_key(CACHE_TYPE, conversion_id, model) for model in others]
        await self._cache.delete_many(ctx, keys)
