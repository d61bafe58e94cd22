"""The services behind the stack as a scenario assumes them: Workers KV, D1 and Queues.

The rules of :mod:`scenarios.world` hold here too: a unit in the name, a source or "assumption".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from reference_impl.config import (
    CACHE_TTL_S,
    KV_MIN_CACHE_TTL_S,
    KV_MIN_EXPIRATION_TTL_S,
    MAX_TTL_JITTER,
)
from reference_impl.d1.schema import COLUMNS, INDEXES
from scenarios.parts import LatencyMs, Part, distinct, known
from scenarios.regions import D1Region

CacheType = Annotated[str, known(CACHE_TTL_S, "cache type")]
IndexName = Annotated[str, known(INDEXES, "index of the schema")]

KVTtl = Annotated[int, Field(ge=KV_MIN_EXPIRATION_TTL_S, le=31_536_000)]
"""An expirationTtl: KV refuses less than 60 s."""


def _with_defaults(given: Any) -> Any:
    return {**CACHE_TTL_S, **given} if isinstance(given, dict) else given


class KV(Part):
    """Workers KV: memory and a copy at each node, a copy a region, and a central store."""

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
    read_memory_ms: LatencyMs = Field(
        default=LatencyMs(p50=0.5, p99=1.5),
        description="read answered from the node's memory: under 1 ms for the hottest keys "
        "(Cloudflare blog, 2024-09-26)",
    )
    memory_s: float = Field(
        default=30.0,
        ge=0,
        le=86_400,
        description="for so long after a read the node keeps its copy in memory (assumption)",
    )
    read_node_ms: LatencyMs = Field(
        default=LatencyMs(p50=5, p99=25),
        description="read answered by the node's copy (assumption; one benchmark saw 17 ms)",
    )
    read_regional_ms: LatencyMs = Field(
        default=LatencyMs(p50=18, p99=70),
        description="read answered by the copy that the nodes of a region share (assumption, "
        "calibrated to the same aggregate as read_central_ms)",
    )
    read_central_ms: LatencyMs = Field(
        default=LatencyMs(p50=150, p99=600),
        description="read answered by the central store, calibrated to the published p95 of 50 "
        "and p99 of 250 ms of all reads (KV changelog, 2025-08-22)",
    )
    refresh_ahead: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="part of a copy's life, 0..0.5, before its end in which a read has it fetched "
        "anew behind the answer; KV documents this for hot keys, the part is an assumption",
    )
    write_ms: LatencyMs = Field(
        default=LatencyMs(p50=140, p99=500),
        description="p50 of one public benchmark (138 ms); p99 is an assumption; deletions, too",
    )
    list_ms: LatencyMs = Field(
        default=LatencyMs(p50=200, p99=800),
        description="one page of a listing from the central store (assumption); a node repeats "
        "it for 60 s",
    )
    own_write_unseen: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="probability that a write is not visible at once in the node that wrote: "
        "KV documents usually immediate, not guaranteed (the number is an assumption)",
    )
    purge_s: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="so long after a write is visible no older copy is served any more; null "
        "leaves them their life (a draft of the documentation spoke of seconds; not promised)",
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


_VERBS = ("select", "insert", "update", "delete")
StatementKind = Annotated[
    str, known([f"{verb}_{table}" for verb in _VERBS for table in COLUMNS], "kind of statement")
]


class StatementCost(Part):
    """What one kind of statement costs, in the place of the line for all of them."""

    base_us: int = Field(ge=0, le=10_000_000, description="each statement of the kind")
    ns_per_step: float = Field(ge=0, le=1e6, description="one VM step of the kind")


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
    by_statement: dict[StatementKind, StatementCost] = Field(
        default={},
        description="by kind, such as select_user_journeys: measured prices of one's own. One line "
        "over all statements prices to a factor (20 to 110 ns a step), not to a per cent",
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
    query_timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="a statement or batch that would execute for longer is stopped and undone "
        "(D1 limits)",
    )
    read_retries: int = Field(
        default=2,
        ge=0,
        le=10,
        description="read-only queries are asked again so often when a connection is lost "
        "(D1 changelog, 2025-09-11); overload is told at once",
    )
    lost_share: float = Field(
        default=0.0, ge=0, le=1, description="part of the calls whose connection is lost, 0..1"
    )
    replicas: bool = Field(
        default=False, description="a read replica in every other region of D1, used by sessions"
    )
    session: Literal["none", "first-unconstrained", "first-primary"] = Field(
        default="none",
        description="none: all queries go to the primary; else each request opens a session of "
        "that kind, whose reads go to the nearest instance. The queue's consumer opens none",
    )
    replica_lag_ms: LatencyMs = Field(
        default=LatencyMs(p50=800, p99=6100),
        description="from a commit to a replica showing it: 200 probes from Tokyo of a primary in "
        "enam, third party, 2026; it holds for 10 s at a time (assumption)",
    )
    cost: D1Cost = Field(default=D1Cost(), description="service time of a statement")
    drop_indexes: Annotated[tuple[IndexName, ...], AfterValidator(distinct)] = Field(
        default=(), strict=False, description="indexes of the schema to leave out"
    )


class Fault(Part):
    """Something that breaks for a while."""

    kind: Literal["kv_outage", "d1_stall"] = Field(
        description="kv_outage: the central store of KV answers 503, copies are still served; "
        "d1_stall: the thread of the primary executes nothing (stalls of 2 to 80 s are reported)"
    )
    from_s: float = Field(ge=0, le=86_400, description="when it begins, warm-up included")
    for_s: float = Field(gt=0, le=86_400, description="how long it lasts")


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
    max_concurrency: int = Field(
        default=250,
        ge=1,
        le=250,
        description="consumers at most; they grow by one whenever a batch ends while others wait "
        "(Queues documentation; the step is an assumption)",
    )
    throughput_per_s: float = Field(
        default=5000.0, gt=0, le=1e6, description="messages; more are refused (Queues limits)"
    )
    duplicate_probability: float = Field(
        default=0.0001,
        ge=0,
        le=1,
        description='part of the messages that come twice: "rare" (Queues documentation; the '
        "number is an assumption)",
    )
