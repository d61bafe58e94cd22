"""The stack's settings as a scenario states them."""

from __future__ import annotations

from reference_impl.config import StackConfig
from reference_impl.isolate.memory import MemorySizes
from scenarios.schema import Scenario
from scenarios.world import Edge


def stack_config(scenario: Scenario) -> StackConfig:
    """How each isolate's caches and attribution are set up in this scenario."""
    return StackConfig(
        l1_scope=scenario.l1.scope,
        l1_ttl_s=scenario.l1.ttl_s,
        l1_max_bytes=round(scenario.l1.max_mib * 1024 * 1024),
        l1_max_entries=scenario.l1.max_entries,
        single_flight=scenario.cache.single_flight,
        kv_expiration_ttl_s=scenario.kv.expiration_ttl_s,
        kv_negative_ttl_s=scenario.kv.negative_ttl_s,
        kv_stale_ttl_s=scenario.kv.stale_ttl_s,
        kv_ttl_jitter=scenario.kv.ttl_jitter,
        kv_read_timeout_us=round(scenario.kv.read_timeout_ms * 1000),
        kv_cache_ttl_s=scenario.kv.cache_ttl_s,
        kv_write_spacing_us=round(1_000_000 / scenario.kv.writes_per_key_per_s),
        attribution_models=scenario.attribution_models,
        direct=scenario.attribution_direct,
        accept=scenario.ingest.accept,
    )


def memory_sizes(edge: Edge) -> MemorySizes:
    """What an isolate of this scenario is accounted with."""
    return MemorySizes(
        base=round(edge.base_memory_mib * 1024 * 1024),
        request=round(edge.request_memory_kib * 1024),
    )
