"""Attribution of many conversions: few round trips, each computed once, none failing another."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.attribution.answers import attribution_text
from reference_impl.attribution.markov import NO_HISTORY, RemovalEffects
from reference_impl.attribution.models import Direct, Touch, fallback, models
from reference_impl.cache.manager import CacheManager
from reference_impl.d1.arguments import BadArgument, checked_id, checked_model
from reference_impl.d1.queries import Attributed, QueryOptimizer
from reference_impl.d1.statements import in_parts
from reference_impl.isolate.attributor import LEARNS
from reference_impl.keys import cache_key
from reference_impl.messages import Context
from reference_impl.ports import D1Error, Latch, Runtime

BATCH_SIZE = 50
MAX_PARALLEL = 5
"""Conversions of one batch, and batches of an isolate at once; both from the specification."""

CACHE_TYPE = "attribution"
NO_JOURNEY = "No journey found"

Outcomes = dict[str, str | Exception | None]
"""By conversion: the text of its answer, why there is none, or None without a journey."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one conversion: the JSON text of its answer, or an error, never both.

    ``from_cache`` says that nothing was computed for this call; the answer is the same.
    """

    conversion_id: str
    attribution_model: str
    text: str | None = None
    error: str | None = None
    from_cache: bool = False

    @property
    def attribution(self) -> list[dict[str, Any]] | None:
        """The touches with their credits, oldest first, as the caller's own; None for an error."""
        return self._told().get("attribution")

    def to_json(self) -> dict[str, Any]:
        """The result as plain data, of one form whether it was cached or not."""
        told = {"conversion_id": self.conversion_id, "attribution_model": self.attribution_model}
        what = {"error": self.error} if self.text is None else self._told()
        return {**told, **what, "from_cache": self.from_cache}

    def _told(self) -> dict[str, Any]:
        """What the answer says of the journey: its touches, and whether there are others."""
        answer = {} if self.text is None else json.loads(self.text)
        return {name: answer[name] for name in ("attribution", "truncated") if name in answer}


class BatchAttributionProcessor:
    """One isolate's processor; it shares keys and texts with the handler of single questions.

    What no cache has is read in one statement a batch, computed, and stored in one transaction
    before it is cached, so that what is cached by this processor is in D1 too. KV is read and
    written once a conversion: of D1's and KV's 1,000 operations an invocation
    (https://developers.cloudflare.com/kv/platform/limits/) a call takes two a conversion.
    """

    def __init__(
        self,
        runtime: Runtime,
        cache: CacheManager,
        queries: QueryOptimizer,
        *,
        effects: RemovalEffects = NO_HISTORY,
        direct: Direct = "skip",
    ) -> None:
        self._runtime = runtime
        self._cache = cache
        self._queries = queries
        self._direct: Direct = direct
        self.learn(effects)
        self._batches = runtime.limiter(MAX_PARALLEL)
        self._running: dict[str, Latch] = {}

    def learn(self, effects: RemovalEffects) -> None:
        """Divide ``data_driven`` credit by these effects from now on; what is cached stays."""
        self._effects = effects
        self._models = models(effects, direct=self._direct)

    async def process_batch(
        self, ctx: Context, conversion_ids: Sequence[str], model: str
    ) -> list[BatchResult]:
        """One result for each ID, in the same order; an ID asked for twice is computed once.

        What another call of this isolate is computing already is waited for. An ID that no
        conversion can have, a conversion without a journey and one that failed are results with
        an error.

        Raises:
            BadArgument: for an unknown model, or for IDs that are no list.
        """
        checked_model(model)
        if isinstance(conversion_ids, str | bytes):
            raise BadArgument("conversion_ids must be a list of IDs")
        refused = {at: error for at, each in enumerate(conversion_ids) if (error := _refusal(each))}
        good = [each for at, each in enumerate(conversion_ids) if at not in refused]
        found = await self._results(ctx, list(dict.fromkeys(good)), model)
        return [
            BatchResult(each, model, error=refused[at]) if at in refused else found[each]
            for at, each in enumerate(conversion_ids)
        ]

    async def _results(
        self, ctx: Context, conversion_ids: Sequence[str], model: str
    ) -> dict[str, BatchResult]:
        """Compute those that no call is computing yet, and wait for the others.

        Two calls that each waited for the other's loads inside the cache could wait for ever;
        a conversion belongs to one call from the start, so there is no such circle.
        """
        keys = {each: cache_key(CACHE_TYPE, each, model) for each in conversion_ids}
        own = [each for each in conversion_ids if keys[each] not in self._running]
        latches = {each: self._runtime.latch() for each in own}
        self._running.update((keys[each], latch) for each, latch in latches.items())
        waited = {each: self._running[key] for each, key in keys.items()}
        try:
            parts = in_parts(own, BATCH_SIZE)
            works = (self._one_batch(ctx, part, model, latches) for part in parts)
            await self._runtime.gather(works, limit=MAX_PARALLEL)
        finally:
            for each, latch in latches.items():
                del self._running[keys[each]]
                if not latch.is_set:
                    latch.set(BatchResult(each, model, error="the call that computed it ended"))
        return {each: await latch.wait() for each, latch in waited.items()}

    async def _one_batch(
        self, ctx: Context, conversion_ids: Sequence[str], model: str, latches: dict[str, Latch]
    ) -> None:
        async def load(missing: Sequence[str]) -> Outcomes:
            return await self._compute(ctx, missing, model)

        async with self._batches:
            together = _Together(self._runtime, conversion_ids, load)
            works = [self._one(ctx, each, model, together) for each in conversion_ids]
            for result in await self._runtime.gather([together.run(), *works]):
                if result is not None:
                    latches[result.conversion_id].set(result)

    async def _one(
        self, ctx: Context, conversion_id: str, model: str, together: _Together
    ) -> BatchResult | None:
        asked = False

        async def fetch() -> str | None:
            nonlocal asked
            asked = True
            return await together.load(conversion_id)

        key = cache_key(CACHE_TYPE, conversion_id, model)
        try:
            text = await self._cache.get(ctx, CACHE_TYPE, key, fetch)
        except Exception as error:
            return BatchResult(conversion_id, model, error=str(error) or type(error).__name__)
        finally:
            together.decided(conversion_id)
        error_text = NO_JOURNEY if text is None else None
        return BatchResult(conversion_id, model, text, error_text, from_cache=not asked)

    async def _compute(self, ctx: Context, conversion_ids: Sequence[str], model: str) -> Outcomes:
        """Read, credit and store; what cannot be credited or stored fails by itself."""
        outcomes: Outcomes = {}
        attributed: dict[str, Attributed] = {}
        journeys = await self._queries.get_conversion_journeys(ctx, conversion_ids)
        for each, journey in journeys.items():
            if not journey.touches:
                outcomes[each] = None
                continue
            try:
                shares = self._models[model](journey.touches)
                note = self._note(model, journey.touches)
                attributed[each] = Attributed(journey, shares, note)
            except Exception as error:
                outcomes[each] = error
        return {**outcomes, **await self._store(ctx, model, attributed)}

    def _note(self, model: str, journey: Sequence[Touch]) -> str | None:
        """What the answer to a single question would say beside the credits."""
        if model != LEARNS:
            return None
        return fallback(journey, self._effects, direct=self._direct)

    async def _store(
        self, ctx: Context, model: str, attributed: Mapping[str, Attributed]
    ) -> Outcomes:
        """Store all in one transaction; if that fails, each in one of its own."""
        if not attributed:
            return {}
        try:
            await self._queries.store_model(ctx, model, attributed)
        except D1Error as error:
            if len(attributed) == 1:
                return dict.fromkeys(attributed, error)
            alone = [await self._store(ctx, model, {each: attributed[each]}) for each in attributed]
            return {each: outcome for outcomes in alone for each, outcome in outcomes.items()}
        return {each: attribution_text(each, model, *what) for each, what in attributed.items()}


class _Together:
    """Loads that are asked for one by one and done as one, once it is known who asks.

    Each name either asks (no cache had it) or is decided without asking. When the last one is,
    :meth:`run` loads what was asked for. Who asks later than that, as a cache that renews a stale
    entry behind the answer does, is loaded alone.
    """

    def __init__(
        self,
        runtime: Runtime,
        names: Sequence[str],
        load: Callable[[Sequence[str]], Awaitable[Outcomes]],
    ) -> None:
        self._runtime = runtime
        self._load = load
        self._undecided = set(names)
        self._all_decided = runtime.latch()
        self._asked: dict[str, Latch] = {}

    async def load(self, name: str) -> str | None:
        """The text of ``name``; None when there is nothing.

        Raises:
            Exception: what its loading raised.
        """
        if self._all_decided.is_set:
            outcome = (await self._load([name]))[name]
        else:
            latch = self._asked.setdefault(name, self._runtime.latch())
            self.decided(name)
            outcome = await latch.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def decided(self, name: str) -> None:
        """``name`` asks, or never will; to say it twice does no harm."""
        self._undecided.discard(name)
        if not self._undecided and not self._all_decided.is_set:
            self._all_decided.set()

    async def run(self) -> None:
        """Wait until all are decided, then load."""
        await self._all_decided.wait()
        if not self._asked:
            return
        try:
            outcomes = await self._load(list(self._asked))
        except Exception as error:
            outcomes = dict.fromkeys(self._asked, error)
        for name, latch in self._asked.items():
            latch.set(outcomes[name])


def _refusal(conversion_id: object) -> str | None:
    """Why this can be no conversion's ID; None if it can."""
    try:
        checked_id("conversion_id", conversion_id)
    except BadArgument as error:
        return str(error)
    return None
