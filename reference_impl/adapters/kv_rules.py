"""What the KV service itself refuses and how it pages, for every stand-in of it.

Limits: https://developers.cloudflare.com/kv/platform/limits/ and
https://developers.cloudflare.com/kv/api/list-keys/.
"""

from __future__ import annotations

from collections.abc import Iterable

from reference_impl.ports import KVError, KVKey, KVList

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 25 * 1024 * 1024
MIN_EXPIRATION_TTL_S = 60
MIN_CACHE_TTL_S = 30
MAX_LIST = 1000


def check_key(key: str, operation: str) -> None:
    """Refuse a key that KV refuses."""
    if key in ("", ".", ".."):
        raise KVError(f"KV {operation} failed: 400 {key!r} is not allowed as a key name", 400)
    if len(key.encode()) > MAX_KEY_BYTES:
        raise KVError(f"KV {operation} failed: 414 UTF-8 encoded length exceeds 512", 414)


def check_put(key: str, value: str, expiration_ttl: int | None) -> None:
    """Refuse a write that KV refuses: its key, its size, a life under the minimum."""
    check_key(key, "PUT")
    if len(value) * 4 > MAX_VALUE_BYTES and len(value.encode()) > MAX_VALUE_BYTES:
        raise KVError(f"KV PUT failed: 413 Value length exceeds limit of {MAX_VALUE_BYTES}", 413)
    if expiration_ttl is not None and expiration_ttl < MIN_EXPIRATION_TTL_S:
        raise KVError(
            f"KV PUT failed: 400 Invalid expiration_ttl of {expiration_ttl}. "
            f"Expiration TTL must be at least {MIN_EXPIRATION_TTL_S}.",
            400,
        )


def check_cache_ttl(cache_ttl: int | None) -> None:
    """Refuse a reader's cache life under the minimum."""
    if cache_ttl is not None and cache_ttl < MIN_CACHE_TTL_S:
        raise KVError(f"KV GET failed: 400 cacheTtl must be at least {MIN_CACHE_TTL_S}", 400)


def page_of(
    names: Iterable[str], prefix: str | None, limit: int | None, cursor: str | None
) -> KVList:
    """One page of keys in UTF-8 byte order; the cursor is the last name of the page before.

    A limit of zero or less is no limit but the page's own, as the service has it.
    """
    size = MAX_LIST if limit is None or limit <= 0 else limit
    if size > MAX_LIST:
        raise KVError(f"KV GET failed: 400 limit must be at most {MAX_LIST}", 400)
    chosen = sorted((name for name in names if name.startswith(prefix or "")), key=str.encode)
    rest = [name for name in chosen if cursor is None or name.encode() > cursor.encode()]
    page = rest[:size]
    complete = len(page) == len(rest)
    return KVList(tuple(KVKey(name) for name in page), complete, None if complete else page[-1])
