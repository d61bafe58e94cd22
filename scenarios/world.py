"""The world a scenario assumes: clients, edge nodes, caches, KV, D1 and the queue.

Every field has its unit in its name, a default, and the source of that default in its
description, or the word "assumption". Latency laws are lognormal by their p50 and p99 in ms.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from reference_impl.config import (
    CACHE_TTL_S,
    KV_MIN_CACHE_TTL_S,
    KV_MIN_EXPIRATION_TTL_S,
    MAX_TTL_JITTER,
    Accept,
    L1Scope,
)
from reference_impl.schema import INDEXES
from scenarios.regions import D1Region, Region

Sized = TypeVar("Sized", bound=Sequence[Hashable])


def known(names: Iterable[str], what: str) -> AfterValidator:
    """A check that a text is one of ``names``; ``what`` says what these are."""
    listed = tuple(names)

    def check(name: str) -> str:
        if name in listed:
            return name
        raise ValueError(f"{name!r} is no {what}{meant(name, listed)}")

    return AfterValidator(check)


def meant(word: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown ``word``: the likeliest name, or all of them."""
    listed = list(names)
    close = get_close_matches(word, listed, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(listed)}"


CacheType = Annotated[str, known(CACHE_TTL_S, "cache type")]
IndexName = Annotated[str, known(INDEXES, "index of the schema")]

NAME = r"^[a-z0-9_-]+$"


class Part(BaseModel):
    """Base of all settings: strict types, no unknown fields, unchangeable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def some(values: Sized) -> Sized:
    """``values`` unchanged; ValueError when there are none."""
    if not values:
        raise ValueError("expected at least one entry")
    return values


def distinct(values: Sized) -> Sized:
    """``values`` unchanged; ValueError names the first one that is there twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} is listed twice")
    return values


class LatencyMs(Part):
    """A lognormal latency law by its median and 99 % point, in ms."""

    p50: float = Field(gt=0, le=60_000, description="median in ms")
    p99: float = Field(gt=0, le=600_000, description="99 % point in ms, at least the median")

    @model_validator(mode="after")
    def _ordered(self) -> LatencyMs:
        if self.p99 < self.p50:
            raise ValueError(f"p99 ({self.p99:g}) must be at least p50 ({self.p50:g})")
        return self


class Client(Part):
    """Who asks, and over which network."""

    connections: Literal["keep_alive", "new"] = Field(
        default="keep_alive",
        description="new: every request pays setup_round_trips first (assumption: keep_alive)",
    )
    rtt_ms: LatencyMs = Field(
        default=LatencyMs(p50=15, p99=82),
        description="client to nearest edge node and back; p95 is 50 ms as on "
        "cloudflare.com/network (95 % of users within 50 ms, most within 20)",
    )
    setup_round_trips: int = Field(
        default=2, ge=0, le=10, description="TCP 1 + TLS 1.3 1 (protocol round trips)"
    )
    timeout_s: float = Field(
        default=10.0, gt=0, le=600, description="a client gives up after this (assumption)"
    )


class Node(Part):
    """One edge node (a data centre near some of the clients)."""

    name: str = Field(pattern=NAME, max_length=32, description="unique name")
    region: Region = Field(default="weur", description="where it stands (assumption)")
    share: float = Field(default=1.0, gt=0, le=1, description="part of all requests, 0..1")


def _nodes(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    distinct([node.name for node in some(nodes)])
    total = sum(node.share for node in nodes)
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"the shares must sum to 1, they sum to {total:g}")
    return nodes


class Edge(Part):
    """The edge nodes and the isolates that run in them."""

    nodes: Annotated[tuple[Node, ...], AfterValidator(_nodes)] = Field(
        default=(Node(name="fra"),),
        strict=False,
        max_length=100,
        description="the edge nodes (assumption: one in western Europe)",
    )
    isolates_per_node: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="assumption: sharding gathers a Worker of low traffic in one isolate a node "
        "(Cloudflare blog, 2025-09-26); the number is not published",
    )
    cpu_ms: LatencyMs = Field(
        default=LatencyMs(p50=1.5, p99=15),
        description="CPU of one invocation: mean about 2.2 ms, heavy 10 to 20 (Workers limits, "
        "2026); the shape is an assumption",
    )
    base_memory_mib: float = Field(
        default=20.0, ge=0, le=128, description="isolate without cached data (assumption)"
    )
    request_memory_kib: float = Field(
        default=64.0, ge=0, le=131_072, description="one request in flight (assumption)"
    )


class L1(Part):
    """The cache in memory."""

    scope: L1Scope = Field(
        default="isolate",
        description="isolate: memory outlives a request; request: each invocation starts with an "
        "empty one, as the original design says (request_memory_kib covers what it holds)",
    )
    ttl_s: int = Field(
        default=10, ge=1, le=86_400, description="adds to the staleness of KV (assumption)"
    )
    max_mib: float = Field(
        default=32.0, gt=0, le=128, description="a quarter of the 128 MiB isolate (assumption)"
    )
    max_entries: int = Field(
        default=100_000, ge=1, le=10_000_000, description="entries at most (assumption)"
    )


class Cache(Part):
    """How the layers work together."""

    single_flight: bool = Field(
        default=True,
        description="one load of a key at a time in an isolate, however many ask; the original "
        "design has none",
    )


KVTtl = Annotated[int, Field(ge=KV_MIN_EXPIRATION_TTL_S, le=31_536_000)]
"""An expirationTtl: KV refuses less than 60 s."""


def _with_defaults(given: Any) -> Any:
    return {**CACHE_TTL_S, **given} if isinstance(given, dict) else given


class KV(Part):
    """Workers KV: a cache at each edge node before a central store."""

    expiration_ttl_s: Annotated[dict[CacheType, KVTtl], BeforeValidator(_with_defaults)] = Field(
        default=dict(CACHE_TTL_S),
        description="how long KV keeps an entry, by cache type, 60 s or more (original design); "
        "types not named keep their default",
    )
    negative_ttl_s: KVTtl = Field(
        default=60, description='how long "not there" is kept (assumption: the KV minimum)'
    )
    stale_ttl_s: int = Field(
        default=0,
        ge=0,
        le=31_536_000,
        description="for so long behind its life an entry is still served, as a hit marked stale, "
        "while one look-up of the isolate fetches it anew; 0 is off (assumption)",
    )
    ttl_jitter: float = Field(
        default=0.0,
        ge=0,
        le=MAX_TTL_JITTER,
        description="part of a life, 0..0.5, that is taken off at most, by the key's hash, so that "
        "entries written together do not end together; 60 s always remain (assumption)",
    )
    read_timeout_ms: float = Field(
        default=0.0,
        ge=0,
        le=600_000,
        description="a read that takes longer counts as failed, and D1 is asked; 0 is no limit "
        "(assumption: KV documents none)",
    )
    cache_ttl_s: int = Field(
        default=60,
        ge=KV_MIN_CACHE_TTL_S,
        le=31_536_000,
        description="how long an edge node keeps a copy (KV documentation: default 60, minimum 30)",
    )
    read_node_ms: LatencyMs = Field(
        default=LatencyMs(p50=5, p99=25),
        description="read answered by the node's copy (assumption; one benchmark saw 17 ms)",
    )
    read_central_ms: LatencyMs = Field(
        default=LatencyMs(p50=150, p99=600),
        description="read answered by the central store, calibrated to the published p95 of 50 "
        "and p99 of 250 ms of all reads (KV changelog, 2025-08-22)",
    )
    write_ms: LatencyMs = Field(
        default=LatencyMs(p50=140, p99=500),
        description="p50 of one public benchmark (138 ms); p99 is an assumption",
    )
    propagation_ms: float = Field(
        default=0.0,
        ge=0,
        le=600_000,
        description="from a write to the central store answering other nodes with it "
        "(assumption); a node's own copy stays up to cache_ttl_s beyond that",
    )
    writes_per_key_per_s: float = Field(
        default=1.0, gt=0, le=1000, description="more are refused with 429 (KV limits)"
    )


class D1Cost(Part):
    """What a statement costs the single thread: base + VM steps x cost of a step."""

    base_us: int = Field(
        default=200,
        ge=0,
        le=10_000_000,
        description="each statement: D1's documentation shows 0.20 and 0.26 ms for small reads",
    )
    read_ns_per_step: float = Field(
        default=22.0,
        ge=0,
        le=1e6,
        description="one VM step of a read: a scan of 86,322 rows, benchmarks/d1_price.py",
    )
    write_ns_per_step: float = Field(
        default=110.0,
        ge=0,
        le=1e6,
        description="one VM step of a write, over the price of a call: benchmarks/d1_price.py",
    )


class D1(Part):
    """D1: one single-threaded SQLite at a distance."""

    region: D1Region = Field(default="weur", description="where it lives (assumption)")
    metro: str | None = Field(
        default=None, description="name of the edge node in the same metropolis, if any"
    )
    same_metro_rtt_ms: float = Field(
        default=2.0, ge=0, le=1000, description="between zones of one metro (IBM Cloud, 2024)"
    )
    same_region_rtt_ms: float = Field(
        default=12.0, ge=0, le=1000, description="between nodes of one region (assumption)"
    )
    jitter_cv: float = Field(
        default=0.1, ge=0, le=1, description="spread of a round trip / its mean (assumption)"
    )
    request_overhead_ms: LatencyMs = Field(
        default=LatencyMs(p50=3, p99=20),
        description="routing from binding to database, serialisation (assumption)",
    )
    commit_ms: LatencyMs = Field(
        default=LatencyMs(p50=5, p99=40),
        description="waiting for 3 of 5 copies of a write; does not hold the thread (assumption)",
    )
    max_queue_depth: int = Field(
        default=1000, ge=1, le=1_000_000, description="more are refused: overloaded (assumption)"
    )
    max_queue_wait_s: float = Field(
        default=10.0, gt=0, le=600, description="longer waits are refused (assumption)"
    )
    cost: D1Cost = Field(default=D1Cost(), description="service time of a statement")
    drop_indexes: Annotated[tuple[IndexName, ...], AfterValidator(distinct)] = Field(
        default=(), strict=False, description="indexes of the schema to leave out"
    )


class Queue(Part):
    """Cloudflare Queues: batches from producers to the consumer."""

    send_ms: LatencyMs = Field(
        default=LatencyMs(p50=60, p99=250),
        description="median: Cloudflare blog, 2024-10-24; p99 is an assumption",
    )
    batch_size: int = Field(default=10, ge=1, le=100, description="Queues documentation")
    batch_timeout_s: float = Field(default=5.0, ge=0, le=60, description="Queues documentation")
    dispatch_ms: LatencyMs = Field(
        default=LatencyMs(p50=50, p99=300), description="batch closed to handler (assumption)"
    )
    max_retries: int = Field(default=3, ge=0, le=100, description="Queues documentation")
    max_concurrency: int = Field(default=250, ge=1, le=250, description="Queues documentation")


class Ingest(Part):
    """How events are taken in."""

    accept: Accept = Field(
        default="d1",
        description="d1: the committed row is accepted, its message goes in the background, and a "
        "sweep sends again what was never handled; queue: the request waits for the send, and the "
        "consumer writes the row (assumption: d1)",
    )

    rate_per_client_per_s: float = Field(
        default=1000.0,
        ge=0,
        le=1_000_000,
        description="events one client address may post a second, twice as many at once; 0 is no "
        "limit (assumption). Real servers only: a modelled world has one client",
    )
