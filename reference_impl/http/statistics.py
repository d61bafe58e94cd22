"""The statistics of a deployment over HTTP: the readings of ``/api/performance/*``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from reference_impl.http.metrics import CONTENT_TYPE, Metrics
from reference_impl.http.resource import Answer, Endpoint, answer
from reference_impl.messages import Response
from reference_impl.profiling.measured import Measured
from reference_impl.times import from_wall_us

GROUPS = {"request": "requests", "query": "queries", "external": "external_apis"}
"""Groups of series by the first word of their name, in the words of the specification; of all
others the group is that word itself."""


class Statistics:
    """One endpoint a reading; each is complete, bounded, and costs the same after any traffic."""

    def __init__(self, deployment: Measured) -> None:
        self._deployment = deployment
        self._metrics = Metrics(deployment)

    def endpoints(self) -> dict[str, Endpoint]:
        """By the last part of their path."""
        return {
            "stats": self.stats,
            "cache-stats": self.cache_stats,
            "query-stats": self.query_stats,
            "latency-summary": self.latency_summary,
        }

    async def stats(self, _request: Request) -> Answer:
        """Everything: latency and hits as below, memory, queue, and histograms since the start."""
        profiler = self._deployment.profiler
        return self._data(
            {
                "performance": self._latency(),
                **profiler.cumulative(),
                **self._deployment.statistics(),
            }
        )

    async def cache_stats(self, _request: Request) -> Answer:
        """Look-ups by cache type and layer, and the hit ratio of L1 and KV together."""
        return self._data({"cache": self._deployment.profiler.cache_stats()})

    async def query_stats(self, _request: Request) -> Answer:
        """Statements by name, D1 by who asked, and the last of the slow ones."""
        return self._data({"queries": self._deployment.profiler.query_stats()})

    async def latency_summary(self, _request: Request) -> Answer:
        """Percentiles by endpoint, statement and the rest, since the start and lately."""
        return self._data({"latency": self._latency()})

    async def metrics(self, _request: Request) -> Answer:
        """The same numbers as OpenMetrics."""
        about = (("content-type", CONTENT_TYPE),)
        return answer(Response(200, self._metrics.text().decode(), headers=about))

    def _latency(self) -> dict[str, Any]:
        profiler = self._deployment.profiler
        return {**grouped(profiler.latency_summary()), "cache": profiler.cache_stats()}

    def _data(self, data: Mapping[str, Any]) -> Answer:
        stamped = {
            **data,
            "instance": self._deployment.instance(),
            "timestamp": from_wall_us(self._deployment.wall_us()),
        }
        return answer(Response(200, json.dumps({"success": True, "data": stamped})))


def grouped(series: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``request.tracking`` as ``requests``, ``tracking``; a name of one word is its own group's."""
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS.values()}
    for name, numbers in series.items():
        group, _, rest = name.partition(".")
        groups.setdefault(GROUPS.get(group, group), {})[rest or group] = numbers
    return groups
