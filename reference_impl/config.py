"""The stack's own settings, as a deployment would configure them. Times here are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

CACHE_TTL_S: Mapping[str, int] = MappingProxyType(
    {
        "attribution": 3600,
        "channelMetrics": 1800,
        "userJourneys": 300,
        "securityConfig": 900,
        "lookupData": 600,
        "default": 600,
    }
)
"""Life of a KV entry by cache type, from the specification of the stack (seed, L2 cache)."""

KV_MIN_EXPIRATION_TTL_S = 60
"""https://developers.cloudflare.com/kv/api/write-key-value-pairs/: expirations start at 60 s."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """How one isolate's caches and attribution are set up.

    ``kv_cache_ttl_s`` is the reader's ``cacheTtl``: how long a node may serve its own copy.
    ``l1_ttl_s`` is never stretched beyond the KV entry that an L1 entry came from.
    """

    l1_ttl_s: int = 10
    l1_max_bytes: int = 32 * 1024 * 1024
    l1_max_entries: int = 100_000
    kv_expiration_ttl_s: Mapping[str, int] = field(default_factory=lambda: CACHE_TTL_S)
    kv_negative_ttl_s: int = 60
    kv_cache_ttl_s: int = 60
    kv_write_spacing_us: int = 1_000_000
    attribution_models: tuple[str, ...] = ("last_click", "first_click", "linear")

    def expiration_ttl_s(self, cache_type: str, *, negative: bool) -> int:
        """The KV life of an entry; an unknown cache type has the default's."""
        if negative:
            return self.kv_negative_ttl_s
        ttls = self.kv_expiration_ttl_s
        return ttls.get(cache_type, ttls["default"])
