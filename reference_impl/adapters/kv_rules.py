"""What the KV binding and its service refuse, in their own words, and how a listing pages.

Limits: https://developers.cloudflare.com/kv/platform/limits/,
https://developers.cloudflare.com/kv/api/write-key-value-pairs/ and .../list-keys/.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from reference_impl.ports import KVError, KVKey, KVList, KVTypeError

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 25 * 1024 * 1024
MAX_METADATA_BYTES = 1024
MIN_EXPIRATION_TTL_S = 60
MIN_CACHE_TTL_S = 30
MAX_LIST = 1000
MAX_BULK_KEYS = 100


class Put(NamedTuple):
    """A write that KV takes.

    ``expires_s`` is in seconds since 1970, ``metadata`` is JSON; either may be ``None``.
    """

    value: str | bytes
    expires_s: int | None
    metadata: str | None


def check_key(key: str, operation: str) -> None:
    """Refuse a key that KV refuses."""
    if not isinstance(key, str):
        raise KVTypeError(f"a key name is text, not {type(key).__name__}")
    if not key:
        raise KVTypeError("Key name cannot be empty.")
    if key in (".", ".."):
        raise KVTypeError(f'"{key}" is not allowed as a key name.')
    _check_key_length(key, operation)


def check_keys(keys: Sequence[str]) -> None:
    """Refuse a bulk read that KV refuses: none, over 100, or a bad key among them."""
    if not keys:
        raise KVError("KV GET_BULK failed: 400 You must request a minimum of 1 key", 400)
    if len(keys) > MAX_BULK_KEYS:
        message = f"400 You can request a maximum of {MAX_BULK_KEYS} keys"
        raise KVError(f"KV GET_BULK failed: {message}", 400)
    for key in keys:
        check_key(key, "GET_BULK")


def check_put(
    key: str,
    value: str | bytes,
    now_s: float,
    expiration_ttl: float | None = None,
    expiration: float | None = None,
    metadata: Any = None,
) -> Put:
    """The write as KV takes it: lives in whole seconds, counted from the whole second of now.

    Raises:
        KVTypeError: for a key or value of a type or name that the binding does not take.
        KVError: 400 for a life under the minimum, 413 for a value or metadata over its size, 414
            for a key over its length.
    """
    check_key(key, "PUT")
    if isinstance(value, str):
        value = _unicode(value)
    elif not isinstance(value, bytes):
        raise KVTypeError(f"put() accepts text and bytes as values, not {type(value).__name__}")
    expires_s = _expiry_s(now_s, expiration_ttl, expiration)
    if len(value) * 4 > MAX_VALUE_BYTES:
        _check_size("Value", len(value if isinstance(value, bytes) else value.encode()))
    return Put(value, expires_s, None if metadata is None else _metadata_text(metadata))


def check_cache_ttl(cache_ttl: float | None) -> None:
    """Refuse a reader's cache life under the minimum."""
    if cache_ttl is not None and cache_ttl < MIN_CACHE_TTL_S:
        raise KVError(
            f"KV GET failed: 400 Invalid cache_ttl of {cache_ttl}. "
            f"Cache TTL must be at least {MIN_CACHE_TTL_S}.",
            400,
        )


class ListRequest(NamedTuple):
    """A listing that KV takes: keys that begin with ``prefix``, behind ``after``, ``limit`` of
    them at most. ``after`` is ``None`` at the beginning."""

    prefix: bytes
    limit: int
    after: bytes | None

    def page(self, found: Sequence[KVKey]) -> KVList:
        """The page of the keys ``found``, in order, of which one more than the limit says that
        there are more."""
        keys = tuple(found[: self.limit])
        if len(found) <= self.limit:
            return KVList(keys, True)
        return KVList(keys, False, base64.b64encode(keys[-1].name.encode()).decode())

    def takes(self, name: bytes) -> bool:
        """Whether a key of this name may be on the page."""
        return name.startswith(self.prefix) and (self.after is None or name > self.after)


def check_list(prefix: str | None, limit: float | None, cursor: str | None) -> ListRequest | None:
    """What to list; ``None`` for a cursor that was none of ours, which finds nothing.

    A limit of zero, below, or that is no number is no limit but the page's own, as the service
    has it.

    Raises:
        KVError: 400 for a limit over 1,000, 414 for a prefix that no key could have.
    """
    size = int(limit) if limit is not None and _is_number(limit) and limit >= 1 else MAX_LIST
    if size > MAX_LIST:
        message = f"Invalid key_count_limit of {size}. Please specify an integer less than 1000."
        raise KVError(f"KV GET failed: 400 {message}", 400)
    prefix = prefix or ""
    _check_key_length(prefix, "GET")
    try:
        after = base64.b64decode(cursor, validate=True) if cursor else None
    except (binascii.Error, ValueError):
        return None
    return ListRequest(prefix.encode(), size, after)


def page_of(keys: Iterable[KVKey], request: ListRequest | None) -> KVList:
    """The page that ``request`` asks for, of all the keys there are, in any order."""
    if request is None:
        return KVList((), True)
    named = sorted((name, key) for key in keys if request.takes(name := key.name.encode()))
    return request.page([key for _, key in named[: request.limit + 1]])


def _check_key_length(key: str, operation: str) -> None:
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError:
        raise KVTypeError("a key name is Unicode text; this one has half a character") from None
    if size > MAX_KEY_BYTES:
        raise KVError(
            f"KV {operation} failed: 414 UTF-8 encoded length of {size} exceeds key length "
            f"limit of {MAX_KEY_BYTES}.",
            414,
        )


def _unicode(text: str) -> str:
    """``text``, with half a surrogate pair, which is no Unicode, as U+FFFD; so does JavaScript."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _check_size(what: str, size: int) -> None:
    most = MAX_VALUE_BYTES if what == "Value" else MAX_METADATA_BYTES
    if size > most:
        raise KVError(f"KV PUT failed: 413 {what} length of {size} exceeds limit of {most}.", 413)


def _expiry_s(now_s: float, ttl: float | None, at: float | None) -> int | None:
    """When the entry ends; a TTL wins over an instant."""
    if ttl is not None:
        ttl_s = _whole(ttl)
        if ttl_s <= 0:
            raise _invalid("expiration_ttl", ttl_s, "Please specify integer greater than 0.")
        if ttl_s < MIN_EXPIRATION_TTL_S:
            least = f"Expiration TTL must be at least {MIN_EXPIRATION_TTL_S}."
            raise _invalid("expiration_ttl", ttl_s, least)
        return math.floor(now_s) + ttl_s
    if at is None:
        return None
    at_s = _whole(at)
    if at_s <= math.floor(now_s):
        since = "the current number of seconds since the UNIX epoch"
        raise _invalid("expiration", at_s, f"Please specify integer greater than {since}.")
    if at_s < math.floor(now_s) + MIN_EXPIRATION_TTL_S:
        least = f"Expiration times must be at least {MIN_EXPIRATION_TTL_S} seconds in the future."
        raise _invalid("expiration", at_s, least)
    return at_s


def _invalid(name: str, seconds: int, expected: str) -> KVError:
    return KVError(f"KV PUT failed: 400 Invalid {name} of {seconds}. {expected}", 400)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _whole(seconds: float) -> int:
    """Whole seconds, fractions dropped; what is no finite number counts as 0 and is refused."""
    if not _is_number(seconds) or math.isinf(seconds):
        return 0
    return int(seconds)


_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _metadata_text(metadata: Any) -> str:
    try:
        text = _compact(metadata)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise KVTypeError(f"metadata must be JSON: {error}") from None
    _check_size("Metadata", size)
    return text
