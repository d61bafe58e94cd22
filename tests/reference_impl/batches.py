"""One isolate with a batch processor, and conversions for it."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.adapters.sqlite import Command
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.d1.queries import QueryOptimizer
from reference_impl.isolate.batch import BatchAttributionProcessor, BatchResult
from tests.reference_impl.fakes import Edge


class Stack:
    """One isolate: a processor over caches and queries."""

    def __init__(self, edge: Edge, config: StackConfig | None = None) -> None:
        self.edge = edge
        self.cache = CacheManager(edge.runtime, config or StackConfig())
        self.queries = QueryOptimizer(edge.runtime)
        self.processor = BatchAttributionProcessor(edge.runtime, self.cache, self.queries)

    async def process(self, ids: Sequence[str], model: str = "linear") -> list[BatchResult]:
        return await self.processor.process_batch(self.edge.context(), ids, model)

    async def walks(self, count: int) -> list[str]:
        """Conversions of two touches each."""
        ids = [f"c{number}" for number in range(count)]
        rows = [
            (f"u-{each}", f"{each}-{place}", "touch", source, place, place, each)
            for each in ids
            for place, source in enumerate("ab")
        ]
        columns = ["user_id", "event_id", "event_name", "utm_source"]
        columns += ["event_timestamp", "position", "conversion_id"]
        ctx = self.edge.context()
        await self.queries.batch_insert(ctx, "user_journeys", columns, rows)
        self.edge.d1.calls.clear()
        return ids

    def reads(self) -> list[list[Command]]:
        """The calls that read journeys."""
        return [call for call in self.edge.d1.calls if call[0].sql.startswith("SELECT")]


def percents(result: BatchResult) -> list[float]:
    return [touch["credit_percentage"] for touch in result.attribution or []]
