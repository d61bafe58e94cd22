"""The stack's own settings, as a deployment would configure them. Times here are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from reference_impl.attribution.models import Direct
from reference_impl.keys import stable_share

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

KV_MIN_CACHE_TTL_S = 30
"""https://developers.cloudflare.com/kv/api/read-key-value-pairs/: the least ``cacheTtl``."""

MAX_TTL_JITTER = 0.5

L1Scope = Literal["isolate", "request"]
Accept = Literal["d1", "queue"]


@dataclass(frozen=True, slots=True)
class StackConfig:
    """How one isolate's caches and attribution are set up.

    ``l1_scope`` is ``isolate`` (memory outlives a request) or ``request`` (each invocation has a
    memory of its own, as the seed's text has it). ``l1_ttl_s`` is never stretched beyond the KV
    entry that an L1 entry came from. Without ``single_flight`` every look-up that misses L1
    reads KV, and the source, for itself.

    ``kv_cache_ttl_s`` is the reader's ``cacheTtl``: how long a node may serve its own copy.
    ``kv_stale_ttl_s`` above 0 is the stale-while-revalidate window behind an entry's life, and
    ``kv_ttl_jitter`` the share of a life (0..0.5) that is taken off at most, by the key's hash, so
    that entries written together do not end together. ``kv_read_timeout_us`` above 0 bounds a KV
    read; one that takes longer counts as a read error.

    ``attribution_models`` are brought up to date when a conversion is touched again, ``direct``
    is the rule for source-less touches, and ``data_driven`` learns from ``history_journeys``
    stored journeys of either kind at most. ``accept`` says what an event is accepted by: see
    :mod:`ingest`.

    Raises:
        ValueError: for what KV would refuse or a look-up could not use.
    """

    l1_scope: L1Scope = "isolate"
    l1_ttl_s: int = 10
    l1_max_bytes: int = 32 * 1024 * 1024
    l1_max_entries: int = 100_000
    single_flight: bool = True
    kv_expiration_ttl_s: Mapping[str, int] = field(default_factory=lambda: CACHE_TTL_S)
    kv_negative_ttl_s: int = 60
    kv_stale_ttl_s: int = 0
    kv_ttl_jitter: float = 0.0
    kv_cache_ttl_s: int = 60
    kv_read_timeout_us: int = 0
    kv_write_spacing_us: int = 1_000_000
    attribution_models: tuple[str, ...] = ("last_click", "first_click", "linear")
    direct: Direct = "skip"
    history_journeys: int = 100_000
    accept: Accept = "d1"

    def __post_init__(self) -> None:
        if "default" not in self.kv_expiration_ttl_s:
            raise ValueError("kv_expiration_ttl_s needs a 'default'")
        for ttl_s in (*self.kv_expiration_ttl_s.values(), self.kv_negative_ttl_s):
            check_ttl(ttl_s)
        if self.kv_cache_ttl_s < KV_MIN_CACHE_TTL_S:
            raise ValueError(f"kv_cache_ttl_s is {KV_MIN_CACHE_TTL_S} at least")
        if self.l1_scope not in ("isolate", "request"):
            raise ValueError(f"l1_scope is 'isolate' or 'request', not {self.l1_scope!r}")
        if self.accept not in ("d1", "queue"):
            raise ValueError(f"accept is 'd1' or 'queue', not {self.accept!r}")
        if not 0 <= self.kv_ttl_jitter <= MAX_TTL_JITTER:
            raise ValueError(f"kv_ttl_jitter is a share of 0 to {MAX_TTL_JITTER}")
        if self.l1_ttl_s < 1 or self.kv_stale_ttl_s < 0 or self.kv_read_timeout_us < 0:
            raise ValueError("l1_ttl_s is 1 at least, and no time is negative")

    def expiration_ttl_s(self, cache_type: str, *, negative: bool) -> int:
        """The KV life of an entry; an unknown cache type has the default's."""
        if negative:
            return self.kv_negative_ttl_s
        ttls = self.kv_expiration_ttl_s
        return ttls.get(cache_type, ttls["default"])

    def life_s(self, cache_type: str, key: str, *, negative: bool) -> int:
        """The KV life of ``key`` less its own share of the jitter, 60 s or more."""
        ttl_s = self.expiration_ttl_s(cache_type, negative=negative)
        if not self.kv_ttl_jitter:
            return ttl_s
        cut_s = int(ttl_s * self.kv_ttl_jitter * stable_share(key))
        return max(KV_MIN_EXPIRATION_TTL_S, ttl_s - cut_s)


def check_ttl(ttl_s: int) -> int:
    """``ttl_s`` unchanged.

    Raises:
        ValueError: it is no whole number of seconds, or under KV's minimum of 60 s. It is neither
            clamped nor left to KV, whose refusal would come after the answer.
    """
    if type(ttl_s) is not int or ttl_s < KV_MIN_EXPIRATION_TTL_S:
        least = KV_MIN_EXPIRATION_TTL_S
        raise ValueError(f"a life in KV is a whole number of seconds from {least}, not {ttl_s!r}")
    return ttl_s
