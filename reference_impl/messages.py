"""What passes between handlers and whoever asked: answers, and the evidence of their making.

Handlers return evidence; only a recorder or a profiler counts it. All values are plain and
immutable once handed over. Those made for every request are tuples, which take less time to
make than a frozen data class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from reference_impl.ports import D1Database, KVNamespace, Queue

if TYPE_CHECKING:
    from reference_impl.cache.l1 import L1Cache


class Layer(StrEnum):
    """Which layer answered one CacheManager look-up.

    ``L1`` and ``KV`` are hits (a cached "not there" included), ``MISS`` went to D1, ``JOINED``
    waited for another's fetch and counts as a miss, ``UNKNOWN`` gave no evidence.
    """

    L1 = "l1"
    KV = "kv"
    MISS = "miss"
    JOINED = "joined"
    UNKNOWN = "unknown"


HITS = frozenset({Layer.L1, Layer.KV})


class Lookup(NamedTuple):
    """One CacheManager look-up: its cache type, who answered, whether it was "not there".

    ``stale``: a hit past its life, served while one look-up of the isolate renews it.
    """

    cache_type: str
    layer: Layer
    negative: bool = False
    stale: bool = False


class D1Call(NamedTuple):
    """One statement or batch, from the Worker's call to its result; all times in microseconds.

    ``sql_us``, ``wait_us`` and ``round_trip_us`` are ``None`` where the database did not say.
    """

    name: str
    total_us: int
    sql_us: int | None = None
    wait_us: int | None = None
    round_trip_us: int | None = None
    failed: bool = False


class KVCall(NamedTuple):
    """One KV operation (``get``, ``put``, ``delete`` or ``list``), from call to result."""

    operation: str
    total_us: int
    failed: bool = False


@dataclass(slots=True)
class Evidence:
    """How one answer was made. ``cpu_us`` is ``None`` where nothing measured it.

    L1 is not timed: a look-up in memory takes no time that the clock of a Worker, which stands
    still between its calls, could show.
    """

    lookups: list[Lookup] = field(default_factory=list)
    d1: list[D1Call] = field(default_factory=list)
    cpu_us: int | None = None
    kv: list[KVCall] = field(default_factory=list)


class Response(NamedTuple):
    """One answer: HTTP status, JSON text, extra headers, and the name of its route."""

    status: int
    body: str
    route: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Context(Protocol):
    """One invocation's bindings, as a Worker gets them: ``env`` and ``ctx`` in one.

    ``l1`` starts as ``None``; a request-scoped cache keeps its memory of this invocation there.
    """

    @property
    def kv(self) -> KVNamespace: ...

    @property
    def d1(self) -> D1Database: ...

    @property
    def queue(self) -> Queue: ...

    @property
    def evidence(self) -> Evidence: ...

    l1: L1Cache | None

    def wait_until(self, work: Any) -> None:
        """Let ``work`` (a coroutine) go on after the answer; its errors are counted, not raised."""
