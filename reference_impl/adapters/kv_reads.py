"""``get`` and ``get_with_metadata`` of the KV binding over a store's own reads."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

from reference_impl.adapters.kv_rules import check_cache_ttl, check_key, check_keys
from reference_impl.ports import Keys, KVEntry, KVError, KVJSONError, KVType, KVTypeError

BULK_TYPES = ("text", "json")
KNOWN_TYPES = ", ".join(f'"{each}"' for each in get_args(KVType))


class KVReads(ABC):
    """The reading half of a namespace: checks, types and the bulk form, for every stand-in.

    A stand-in reads one key, or several in one operation, and gives values as they were put.
    """

    async def get(
        self, key: str | Keys, type: KVType = "text", cache_ttl: int | None = None
    ) -> Any:
        """The value under ``key``, or the values of several keys by name."""
        found = await self.get_with_metadata(key, type, cache_ttl)
        if isinstance(found, KVEntry):
            return found.value
        return {name: entry and entry.value for name, entry in found.items()}

    async def get_with_metadata(
        self, key: str | Keys, type: KVType = "text", cache_ttl: int | None = None
    ) -> Any:
        """The value and metadata under ``key``, or those of several keys by name."""
        if not isinstance(key, str):
            return await self._get_bulk(key, type, cache_ttl)
        check_key(key, "GET")
        check_cache_ttl(cache_ttl)
        entry = await self.read(key, cache_ttl)
        if entry.value is None or (type == "text" and isinstance(entry.value, str)):
            return entry
        return KVEntry(_decoded(entry.value, type), entry.metadata)

    async def _get_bulk(
        self, keys: Keys, type: KVType, cache_ttl: int | None
    ) -> dict[str, KVEntry | None]:
        check_keys(keys)
        check_cache_ttl(cache_ttl)
        if type not in BULK_TYPES:
            message = f'400 "{type}" is not a valid type. Use "json" or "text"'
            raise KVError(f"KV GET_BULK failed: {message}", 400)
        names = list(dict.fromkeys(keys))
        entries = await self.read_many(names, cache_ttl)
        return {
            name: None
            if entry.value is None
            else KVEntry(_decoded(entry.value, type), entry.metadata)
            for name, entry in zip(names, entries, strict=True)
        }

    @abstractmethod
    async def read(self, key: str, cache_ttl: int | None) -> KVEntry:
        """What is stored under ``key``: a value as it was put, or ``None``."""

    async def read_many(self, keys: Sequence[str], cache_ttl: int | None) -> list[KVEntry]:
        """The same for several keys, in their order."""
        return [await self.read(key, cache_ttl) for key in keys]


def _decoded(value: str | bytes, type: str) -> Any:
    if type == "bytes":
        return value.encode() if isinstance(value, str) else value
    text = value if isinstance(value, str) else value.decode(errors="replace")
    if type == "text":
        return text
    if type == "json":
        return _json(text)
    raise KVTypeError(f"Unknown response type. Possible types are {KNOWN_TYPES}.")


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise KVJSONError("the value is not JSON", 400) from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
