"""Look-ups of one cache type by how they were answered, counted as they leave their evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reference_impl.cache.l2 import NOT_THERE
from reference_impl.messages import Evidence, Layer, Lookup

_NEGATIVE, _STALE, _OUTCOMES = 1, 2, 4
L1, KV, MISS, JOINED = range(0, 4 * _OUTCOMES, _OUTCOMES)
"""Places of the layers in a tally. Numbers, since to hash an enum costs as much as all the rest."""

_LAYERS = {L1: Layer.L1, KV: Layer.KV, MISS: Layer.MISS, JOINED: Layer.JOINED}


class Tally:
    """A count for each outcome, and the one :class:`Lookup` that all of its kind share."""

    __slots__ = ("_counts", "_lookups")

    def __init__(self, cache_type: str) -> None:
        self._lookups = [
            Lookup(cache_type, layer, bool(bits & _NEGATIVE), bool(bits & _STALE))
            for layer in _LAYERS.values()
            for bits in range(_OUTCOMES)
        ]
        self._counts = [0] * len(self._lookups)

    def answer(
        self, evidence: Evidence, layer: int, text: str, *, stale: bool = False
    ) -> str | None:
        """Count a look-up that ``layer`` answered with ``text``; what the caller gets of it."""
        negative = text == NOT_THERE
        self.count(evidence, layer + negative + (_STALE if stale else 0))
        return None if negative else text

    def count(self, evidence: Evidence, outcome: int) -> None:
        """Count a look-up and leave its evidence."""
        self._counts[outcome] += 1
        evidence.lookups.append(self._lookups[outcome])

    def stats(self) -> dict[str, Any]:
        """Look-ups by layer; hits are those that L1 or KV answered, as the KPI counts them."""
        by_layer = {_LAYERS[at]: sum(self._counts[at : at + _OUTCOMES]) for at in _LAYERS}
        hits = list(range(MISS))
        return {
            **with_ratio(by_layer),
            "negative_hits": sum(self._counts[at] for at in hits if at & _NEGATIVE),
            "stale_hits": sum(self._counts[at] for at in hits if at & _STALE),
        }


def total(stats: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of what several tallies say."""
    rows = list(stats)
    names = ("l1", "kv", "miss", "joined")
    summed = {Layer(name): sum(row[name] for row in rows) for name in names}
    apart = {name: sum(row[name] for row in rows) for name in ("negative_hits", "stale_hits")}
    return {**with_ratio(summed), **apart}


def with_ratio(by_layer: Mapping[Layer, int]) -> dict[str, Any]:
    """Counts by layer with look-ups, hits, misses and the hit ratio of L1 and KV together."""
    lookups = sum(by_layer.values())
    hits = by_layer[Layer.L1] + by_layer[Layer.KV]
    return {
        **{str(layer): count for layer, count in by_layer.items()},
        "lookups": lookups,
        "hits": hits,
        "misses": lookups - hits,
        "hit_ratio": hits / lookups if lookups else None,
    }
