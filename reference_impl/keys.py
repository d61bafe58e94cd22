"""Cache keys made from parts, so that no two questions share one."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

KV_MAX_KEY_BYTES = 512
"""https://developers.cloudflare.com/kv/platform/limits/: the longest key KV takes."""


def cache_key(cache_type: str, *parts: str) -> str:
    """``type:part:part`` with every part percent-encoded; over 512 bytes its tail is hashed.

    The type stays readable in front in either case, so that a listing by prefix finds the entry.
    """
    key = ":".join([cache_type, *(quote(part, safe="") for part in parts)])
    if len(key) <= KV_MAX_KEY_BYTES:
        return key
    return f"{cache_type}:#{hashlib.sha256(key.encode()).hexdigest()}"
