"""The world a scenario assumes: clients, edge nodes and their caches.

Every field has its unit in its name, a default, and the source of that default in its
description, or the word "assumption". Latency laws are lognormal by their p50 and p99 in ms.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from reference_impl.config import Accept, L1Scope
from scenarios.parts import NAME, LatencyMs, Part, distinct, some
from scenarios.regions import Region


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
    client_rtt_ms: LatencyMs | None = Field(
        default=None,
        description="from its clients to this node and back, where that differs from "
        "client.rtt_ms; null: as there",
    )


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
    isolates_per_node: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="null: as many as the node's load asks for; a number fixes them",
    )
    requests_per_isolate_per_s: float = Field(
        default=200.0,
        gt=0,
        le=100_000,
        description="load that brings one more isolate. Sharding gathers a Worker of low traffic "
        "in one isolate a node (Cloudflare blog, 2025-09-26); the number is not published. At "
        "200, with 2.2 ms of CPU each, a thread is busy for under half of the time (assumption)",
    )
    max_isolates_per_node: int = Field(
        default=50, ge=1, le=1000, description="by load, at most (assumption)"
    )
    isolate_lifetime_s: float = Field(
        default=14_400.0,
        gt=0,
        le=1e9,
        description="mean of an exponential life: the runtime is replaced a few times a week, "
        "evictions besides (assumption)",
    )
    isolate_idle_s: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="an isolate without requests for so long is gone; null: never, since no time "
        "is published",
    )
    cold_start_ms: LatencyMs = Field(
        default=LatencyMs(p50=5, p99=200),
        description="first request of an isolate waits for it: under 5 ms for small Workers "
        "(Cloudflare blog, 2020-07-30); the tail towards the limit of 1 s is an assumption",
    )
    memory_limit_mib: float = Field(
        default=128.0,
        gt=0,
        le=128,
        description="beyond this what is in flight finishes and new requests go to a fresh "
        "isolate (Workers limits)",
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
