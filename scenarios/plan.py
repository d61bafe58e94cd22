"""The workload plan: who asks what, when, and at which node; simulation and load test play it.

One Poisson process of the total rate, and marks on each arrival. Gaps and each mark come from
a stream of their own, drawn chunk by chunk, for every request whether it needs the mark or not:
changing one setting therefore leaves all other draws in place, and any chunk can be had alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.recorder import Window
from scenarios.schema import Scenario
from scenarios.streams import ONE, fractions, stream, threshold

ATTRIBUTION = 0
TRACKING = 1

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive requests of the plan; request ``first + i`` is row ``i`` of every array.

    ``key`` is a conversion's index in the population, or a visitor's number for an event that
    is not ``attributed``. ``node`` is an index of ``edge.nodes``. ``intended_us`` counts from
    the start of the plan and never falls; two requests may share a microsecond.
    """

    first: int
    intended_us: NDArray[np.int64]
    route: NDArray[np.uint8]
    key: NDArray[np.int64]
    attributed: NDArray[np.bool_]
    node: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.intended_us)

    def head(self, count: int) -> Chunk:
        """The first ``count`` requests of this chunk."""
        return Chunk(
            first=self.first,
            intended_us=self.intended_us[:count],
            route=self.route[:count],
            key=self.key[:count],
            attributed=self.attributed[:count],
            node=self.node[:count],
        )


class Plan:
    """All requests of one run of ``scenario`` under ``seed``.

    ``conversions`` is the size of the population asked about. Which conversion is how popular
    depends on ``data.seed`` alone, so replications share their hot keys.

    Raises:
        ValueError: when there is no conversion to ask about.
    """

    CHUNK = 4096

    def __init__(self, scenario: Scenario, seed: int, conversions: int) -> None:
        if conversions < 1:
            raise ValueError("the population has no conversion to ask about")
        self._workload = scenario.workload
        self._seed = seed
        self._conversions = conversions
        self._mean_gap_us = US_PER_S / scenario.workload.rate_per_s
        self._attribution_below = threshold(
            scenario.workload.attribution.rate_per_s / scenario.workload.rate_per_s
        )
        self._popularity = zipf_thresholds(conversions, scenario.workload.attribution.zipf_s)
        popularity = stream(scenario.data.seed, "plan.popularity", 0)
        self._by_rank = popularity.permutation(conversions).astype(np.int64)
        self._nodes = cumulative([node.share for node in scenario.edge.nodes])
        self._starts_us = [0]
        warmup_us = round(scenario.measure.warmup_s * US_PER_S)
        window_end_us = warmup_us + round(scenario.measure.window_s * US_PER_S)
        self.horizon_us = window_end_us + round(scenario.measure.cooldown_s * US_PER_S)
        self.window = Window(start_us=warmup_us, end_us=window_end_us)

    def __iter__(self) -> Iterator[Chunk]:
        """All chunks up to the horizon, the last one cut there."""
        index = 0
        while True:
            try:
                chunk = self.chunk(index)
            except IndexError:
                return
            yield chunk
            index += 1

    def chunk(self, index: int) -> Chunk:
        """Chunk number ``index``, the same whether or not others were asked for.

        Raises:
            IndexError: when it starts beyond the horizon.
        """
        intended = self._arrivals_us(index)
        count = int(np.searchsorted(intended, self.horizon_us, side="left"))
        if count == 0:
            raise IndexError(f"chunk {index} lies beyond the horizon")
        route = self._routes(index)
        attributed = self._attributed(index) & (route == TRACKING)
        whole = Chunk(
            first=index * self.CHUNK,
            intended_us=intended,
            route=route,
            key=self._keys(index, route, attributed),
            attributed=attributed,
            node=self._draw_nodes(index),
        )
        return whole.head(count)

    def rates_per_s(self) -> NDArray[np.float64]:
        """The look-up rate of each conversion, over all nodes, by its index."""
        rates = np.empty(self._conversions)
        share = np.diff(self._popularity, prepend=0) / ONE
        rates[self._by_rank] = share * self._workload.attribution.rate_per_s
        return rates

    def expected_requests(self) -> int:
        """The mean number of requests up to the horizon."""
        return round(self.horizon_us / self._mean_gap_us)

    def _arrivals_us(self, index: int) -> NDArray[np.int64]:
        if index < 0:
            raise IndexError(f"chunk {index}: chunks count from 0")
        while len(self._starts_us) <= index:
            if self._starts_us[-1] >= self.horizon_us:
                raise IndexError(f"chunk {index} lies beyond the horizon")
            gaps = self._gaps_us(len(self._starts_us) - 1)
            self._starts_us.append(self._starts_us[-1] + int(gaps.sum()))
        return self._starts_us[index] + np.cumsum(self._gaps_us(index))

    def _gaps_us(self, index: int) -> NDArray[np.int64]:
        draws = self._stream("gap", index).standard_exponential(self.CHUNK)
        return np.rint(draws * self._mean_gap_us).astype(np.int64)

    def _routes(self, index: int) -> NDArray[np.uint8]:
        draws = fractions(self._stream("route", index), self.CHUNK)
        return np.where(draws < self._attribution_below, ATTRIBUTION, TRACKING).astype(np.uint8)

    def _attributed(self, index: int) -> NDArray[np.bool_]:
        draws = fractions(self._stream("attributed", index), self.CHUNK)
        return draws < threshold(self._workload.tracking.attributed_share)

    def _keys(
        self, index: int, route: NDArray[np.uint8], attributed: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        rank = np.searchsorted(
            self._popularity,
            fractions(self._stream("rank", index), self.CHUNK),
            side="right",
        )
        touched = self._uniform("touched", index, self._conversions)
        visitor = self._uniform("visitor", index, self._workload.tracking.visitors)
        event = np.where(attributed, touched, visitor)
        return np.where(route == ATTRIBUTION, self._by_rank[rank], event)

    def _uniform(self, part: str, index: int, below: int) -> NDArray[np.int64]:
        return self._stream(part, index).integers(0, below, size=self.CHUNK, dtype=np.int64)

    def _draw_nodes(self, index: int) -> NDArray[np.int64]:
        draws = fractions(self._stream("node", index), self.CHUNK)
        return np.searchsorted(self._nodes, draws, side="right").astype(np.int64)

    def _stream(self, part: str, index: int) -> np.random.Generator:
        return stream(self._seed, f"plan.{part}", index)


def cumulative(weights: list[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """The running sum of ``weights`` on the integer scale of :data:`scenarios.streams.ONE`."""
    running: NDArray[np.float64] = np.cumsum(np.asarray(weights, dtype=np.float64))
    scaled: NDArray[np.float64] = np.rint(running / float(running[-1]) * ONE)
    return scaled.astype(np.int64)


def zipf_thresholds(count: int, exponent: float) -> NDArray[np.int64]:
    """The distribution function of Zipf's law over ranks 1 to ``count``, on the integer scale."""
    ranks: NDArray[np.float64] = np.arange(1, count + 1, dtype=np.float64)
    return cumulative(ranks**-exponent)
