"""Attribution as one isolate does it: every model, its history kept like any other answer.

``data_driven`` divides credit by removal effects that are learnt from all stored journeys. That
takes a second or more of D1, so the effects are an entry of the cache like any other (type
``channelMetrics``): learnt once however many ask, shared by all isolates through KV, and learnt
anew when the entry ends. An answer that was computed from them stays until its own entry ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reference_impl.attribution.markov import RemovalEffects
from reference_impl.attribution.models import Credit, Direct, Model, Touch, fallback, models
from reference_impl.cache.manager import CacheManager
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.keys import cache_key
from reference_impl.messages import Context

LEARNS = "data_driven"
EFFECTS_TYPE = "channelMetrics"
EFFECTS_KEY = cache_key(EFFECTS_TYPE, "removal_effects")


class Credited(NamedTuple):
    """What each touch is credited with; ``note`` says why ``data_driven`` answered linear."""

    shares: list[Credit]
    note: str | None = None


class Attributor:
    """Shares by any of the models. ``direct`` is the rule for source-less touches.

    ``max_journeys`` bounds how many stored journeys of either kind the history is read from.
    """

    def __init__(
        self, cache: CacheManager, queries: QueryOptimizer, direct: Direct, max_journeys: int
    ) -> None:
        self._cache = cache
        self._queries = queries
        self._direct = direct
        self._max_journeys = max_journeys
        self._models: Mapping[str, Model] = models(direct=direct)
        self._learnt: tuple[str, RemovalEffects] | None = None

    async def credit(self, ctx: Context, model: str, journey: Sequence[Touch]) -> Credited:
        """Divide the credit for one journey.

        Raises:
            D1Error: the history was needed and could not be read.
            KeyError: an unknown model.
        """
        if model != LEARNS:
            return Credited(self._models[model](journey))
        return learnt_credit(journey, await self.effects(ctx), self._direct)

    async def effects(self, ctx: Context) -> RemovalEffects:
        """What ``data_driven`` divides by: learnt by this isolate or another, or now.

        Raises:
            D1Error: it is in no cache, and the history could not be read.
        """

        async def learn() -> str:
            history = await self._queries.channel_history(ctx, max_journeys=self._max_journeys)
            return effects_text(history.effects())

        text = await self._cache.get(ctx, EFFECTS_TYPE, EFFECTS_KEY, learn)
        assert text is not None  # learn always finds something, if only that there is nothing
        if self._learnt is None or self._learnt[0] != text:
            self._learnt = (text, effects_of(text))
        return self._learnt[1]


def learnt_credit(journey: Sequence[Touch], effects: RemovalEffects, direct: Direct) -> Credited:
    """The credit of ``data_driven`` under ``effects``."""
    shares = models(effects, direct=direct)[LEARNS](journey)
    return Credited(shares, fallback(journey, effects, direct=direct))


def effects_text(effects: RemovalEffects) -> str:
    """Removal effects as JSON; pairs and not an object, since a direct visit's name is null."""
    pairs = sorted(
        effects.by_channel.items(), key=lambda pair: (pair[0] is not None, pair[0] or "")
    )
    return json.dumps({"effects": pairs, "conversions": effects.conversions})


def effects_of(text: str) -> RemovalEffects:
    """The inverse of :func:`effects_text`."""
    record = json.loads(text)
    return RemovalEffects(dict(map(tuple, record["effects"])), record["conversions"])
