"""Cache keys made from parts, so that no two questions share one."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

KV_MAX_KEY_BYTES = 512
"""https://developers.cloudflare.com/kv/platform/limits/: the longest key KV takes."""


def cache_key(cache_type: str, *parts: str) -> str:
    """``type:part:part`` with every part percent-encoded; over 512 bytes its tail is hashed.

    The type stays readable in front in either case, so that a listing by prefix finds the entry.
    """
    key = ":".join([cache_type, *map(_encoded, parts)])
    if len(key) <= KV_MAX_KEY_BYTES:
        return key
    return f"{cache_type}:#{hashlib.sha256(key.encode()).hexdigest()}"


def check_key(key: str) -> str:
    """``key`` unchanged, if KV can hold it.

    Raises:
        TypeError: it is no text; KV would take 123 and '123' for the same key, L1 would not.
        ValueError: it is no Unicode, over 512 bytes, or one of the names KV refuses. Each look-up
            of it would be a miss that nobody hears of.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a text, not {type(key).__name__}")
    if key in ("", ".", ".."):
        raise ValueError(f"KV takes no key named {key!r}")
    if (size := len(key.encode())) > KV_MAX_KEY_BYTES:
        raise ValueError(f"a key has {KV_MAX_KEY_BYTES} bytes at most, not {size}")
    return key


def stable_share(key: str) -> float:
    """A number from 0 to under 1 that depends on ``key`` alone: the same everywhere, for ever."""
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def _encoded(part: str) -> str:
    """``part`` percent-encoded; nearly all need no encoding, and asking costs a tenth of it."""
    return part if _PLAIN(part) else quote(part, safe="")


_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
