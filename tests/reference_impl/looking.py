"""Looking things up through a cache manager, over a source that counts how often it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from reference_impl.cache.manager import CacheManager
from reference_impl.messages import Lookup
from tests.reference_impl.fakes import Edge, FakeContext

TYPE = "attribution"


class Source:
    """A source of truth that counts how often it is read."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.values: dict[str, str | None] = {}
        self.reads: Counter[str] = Counter()
        self.error: Exception | None = None
        self.delay_us = 20_000

    def fetch(self, key: str) -> Callable[[], Awaitable[str | None]]:
        async def read() -> str | None:
            self.reads[key] += 1
            found = self.values.get(key)  # the answer may be old by the time it arrives
            await self.edge.runtime.sleep(self.delay_us)
            if self.error:
                raise self.error
            return found

        return read


async def look(
    cache: CacheManager, source: Source, key: str = "k", ctx: FakeContext | None = None
) -> tuple[str | None, Lookup]:
    """One look-up of an invocation of its own, and the evidence it left."""
    ctx = ctx or source.edge.context()
    text = await cache.get(ctx, TYPE, key, source.fetch(key))
    return text, ctx.evidence.lookups[-1]
