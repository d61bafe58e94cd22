"""What a deployment tells of itself, to the statistics and to the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from reference_impl.profiling.profiler import LatencyProfiler


class Measured(Protocol):
    """A deployment that knows its own numbers."""

    @property
    def profiler(self) -> LatencyProfiler: ...

    def instance(self) -> Mapping[str, Any]:
        """Whose numbers these are: ``id``, ``isolates`` and ``since``. Another ``id`` counts for
        itself."""

    def statistics(self) -> Mapping[str, Any]:
        """What the profiler cannot know: memory and queue."""

    def wall_us(self) -> int: ...
