"""Replays recorded cases of KV and D1 on the ports: the same success, value and kind of error.

A case is a JSON line with ``steps``, each an operation and the outcome it had on Cloudflare's
runtime. JavaScript's numbers are bound as floats, its bytes are Python's, and what Python has no
counterpart for (``undefined``, symbols) is an object that no binding takes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reference_impl.ports import (
    D1Database,
    D1Error,
    D1Result,
    D1Statement,
    KVEntry,
    KVError,
    KVJSONError,
    KVList,
    KVNamespace,
)

Case = dict[str, Any]
UNDEFINED = object()
OPTIONS = {"expirationTtl": "expiration_ttl", "cacheTtl": "cache_ttl"}
TYPES = {"arrayBuffer": "bytes", "stream": "bytes"}


def read_cases(path: Path, binding: str) -> list[Case]:
    """The cases of ``binding`` in a file of JSON lines, headers aside."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line.get("binding") == binding]


@dataclass(slots=True)
class Stores:
    """What a case is replayed on: both empty; ``now_s`` and ``pass_s`` are the store's clock."""

    kv: KVNamespace | None = None
    d1: D1Database | None = None
    now_s: Callable[[], float] = time.time
    pass_s: Callable[[float], Awaitable[None]] | None = None
    saved: dict[str, Any] = field(default_factory=dict)


async def replay(case: Case, stores: Stores) -> None:
    """Run all steps.

    Raises:
        AssertionError: an outcome differs.
    """
    for number, step in enumerate(case["steps"], 1):
        where = f"{case['id']} step {number}: {step['op']}"
        outcome = step["outcome"]
        result, error = await _outcome(step, stores)
        assert outcome["ok"] == (error is None), f"{where}: {error or outcome['error']}"
        if error is not None:
            _same_kind(outcome["error"], error, where)
        if "save" in step:
            stores.saved[step["save"]] = result
        if "value" in outcome:
            _same(outcome["value"], result, stores.now_s(), where)


async def _outcome(step: dict[str, Any], stores: Stores) -> tuple[Any, KVError | D1Error | None]:
    try:
        return await _run(step, stores), None
    except (KVError, D1Error) as error:
        return None, error


# --------------------------------------------------------------------------- steps


async def _run(step: dict[str, Any], stores: Stores) -> Any:
    if step["op"] == "clock":
        assert stores.pass_s
        seconds = step["set_s"] - stores.now_s() if "set_s" in step else step["advance_ms"] / 1000
        return await stores.pass_s(seconds)
    if stores.kv is not None:
        return await _run_kv(step, stores.kv, stores)
    assert stores.d1 is not None
    return await _run_d1(step, stores.d1)


async def _run_kv(step: dict[str, Any], kv: KVNamespace, stores: Stores) -> Any:
    options = _options(step.get("options", {}), stores)
    match step["op"]:
        case "put":
            key, value = (_value(step[name], stores) for name in ("key", "value"))
            return await kv.put(key, value, **options)
        case "put_many":
            keys = _value(step["keys"], stores)
            for key in keys:
                await kv.put(key, _value(step["value"], stores))
            return len(keys)
        case "get":
            return await kv.get(_value(step["key"], stores), **options)
        case "getWithMetadata":
            return await kv.get_with_metadata(_value(step["key"], stores), **options)
        case "delete":
            return await kv.delete(_value(step["key"], stores))
        case "list":
            return await kv.list(**options)
    raise AssertionError(f"unknown operation {step['op']}")


async def _run_d1(step: dict[str, Any], d1: D1Database) -> Any:
    match step["op"]:
        case "exec":
            return await d1.exec(_value(step["sql"]))
        case "batch":
            return await d1.batch([_statement(d1, each) for each in step["statements"]])
        case "reuse":
            statement = d1.prepare(step["sql"])
            return [(await statement.bind(*_binds(each)).all()).results for each in step["binds"]]
        case "bind_twice":
            first, second = map(_binds, step["binds"])
            return (await d1.prepare(step["sql"]).bind(*first).bind(*second).all()).results
        case "bind_only" | "prepare_only":
            _statement(d1, step)
            return "prepared"
    statement = _statement(d1, step)
    match step["op"]:
        case "all":
            return await statement.all()
        case "run":
            return await statement.run()
        case "first":
            return await statement.first(step.get("column"))
        case "raw":
            names = step.get("options", {}).get("columnNames", False)
            return await statement.raw(column_names=names)
    raise AssertionError(f"unknown operation {step['op']}")


def _statement(d1: D1Database, step: dict[str, Any]) -> D1Statement:
    statement = d1.prepare(_value(step["sql"]))
    return statement.bind(*_binds(step["bind"])) if "bind" in step else statement


def _binds(values: list[Any]) -> Iterator[Any]:
    for value in map(_value, values):
        yield float(value) if type(value) is int else value


def _options(options: Any, stores: Stores) -> dict[str, Any]:
    if isinstance(options, str):
        options = {"type": options}
    named = {OPTIONS.get(name, name): _value(each, stores) for name, each in options.items()}
    if "type" in named:
        named["type"] = TYPES.get(named["type"], named["type"])
    return {name: each for name, each in named.items() if each is not UNDEFINED}


def _value(value: Any, stores: Stores | None = None) -> Any:
    """An input as Python has it."""
    if not isinstance(value, dict) or "$" not in value:
        return value
    now_s = stores.now_s() if stores else time.time()
    saved = stores.saved if stores else {}
    tagged: dict[str, Callable[[dict[str, Any]], Any]] = {
        "float": lambda v: float(v["v"]),
        "date": lambda v: datetime.fromtimestamp(v["ms"] / 1000, UTC),
        "repeat": lambda v: v["s"] * v["n"],
        "range": lambda v: [f"{v['prefix']}{i:0{v.get('pad', 0)}}" for i in range(v["n"])],
        "utf16": lambda v: "".join(map(chr, v["units"])),
        "bytes": lambda v: bytes.fromhex(v["hex"]),
        "uint8array": lambda v: bytes.fromhex(v["hex"]),
        "stream": lambda v: v["s"].encode(),
        "fixed_stream": lambda v: v["s"].encode(),
        "now_plus": lambda v: int(now_s) + v["s"],
        "now_plus_string": lambda v: str(int(now_s) + v["s"]),
        "var": lambda v: _found(saved[v["name"]], v.get("path", [])),
    }
    make = tagged.get(value["$"])
    return make(value) if make else UNDEFINED


def _found(value: Any, path: list[str]) -> Any:
    for name in path:
        value = getattr(value, name)
    return value


# --------------------------------------------------------------------------- outcomes


def _same_kind(expected: dict[str, Any], error: Exception, where: str) -> None:
    message = expected["message"]
    told = f"{where}: expected {message!r}, not {error!r}"
    if expected["name"] == "SyntaxError":
        assert isinstance(error, KVJSONError), told
    elif expected["name"] == "TypeError":
        assert isinstance(error, TypeError), told
    elif message.startswith("D1_"):
        assert str(error).split(":")[0] == message.split(":")[0], told
    else:
        status = int(message.split(" failed: ")[1][:3])
        assert isinstance(error, KVError), told
        assert error.status == status, told
        assert not isinstance(error, TypeError), told


def _same(expected: Any, found: Any, now_s: float, where: str) -> None:
    if isinstance(found, KVList | KVEntry | D1Result):
        _same_record(expected, found, now_s, where)
    elif isinstance(expected, dict) and "$" in expected:
        _same_tagged(expected, found, now_s, where)
    elif isinstance(expected, dict) and "count" in expected and hasattr(found, "count"):
        assert found.count == expected["count"], where
    elif isinstance(expected, list) and isinstance(found, bytes):
        assert list(found) == expected, where
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(expected, found, strict=True):
            _same(one, other, now_s, where)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name, one in expected.items():
            _same(one, found[name], now_s, where)
    else:
        assert found == expected, f"{where}: expected {expected!r}, not {found!r}"


def _same_record(expected: Any, found: Any, now_s: float, where: str) -> None:
    if isinstance(found, KVEntry):
        _same(expected["value"], found.value, now_s, where)
        _same(expected["metadata"], found.metadata, now_s, where)
    elif isinstance(found, KVList):
        assert found.list_complete == expected["list_complete"], where
        assert bool(found.cursor) == ("cursor" in expected), where
        assert len(found.keys) == len(expected["keys"]), where
        for row, key in zip(expected["keys"], found.keys, strict=True):
            for name in ("name", "expiration", "metadata"):
                _same(row.get(name), getattr(key, name), now_s, where)
    else:
        assert found.success == expected["success"], where
        _same(expected["results"], found.results, now_s, where)
        meta = expected["meta"]
        assert found.meta["changes"] == meta["changes"], f"{where}: {found.meta}"
        if meta["changes"]:
            assert found.meta["last_row_id"] == meta["last_row_id"], where


def _same_tagged(expected: dict[str, Any], found: Any, now_s: float, where: str) -> None:
    match expected["$"]:
        case "undefined":
            assert found is None, where
        case "number":
            assert isinstance(found, int | float), where
        case "float":
            assert found == float(expected["v"]), where
        case "bytes":
            assert found == bytes.fromhex(expected["hex"]), where
        case "stream":
            assert found == expected["s"].encode(), where
        case "seconds_from_now":
            assert abs(found - now_s - expected["s"]) <= expected["tolerance"], where
        case "map":
            entries = dict(expected["entries"])
            assert found.keys() == entries.keys(), where
            for name, one in entries.items():
                _same(one, found[name], now_s, where)
        case "long_text":
            assert len(found) == expected["chars"], where
            assert hashlib.sha256(found.encode()).hexdigest() == expected["sha256"], where
        case "long_array":
            assert len(found) == expected["length"], where
            _same(expected["first"], found[0], now_s, where)
            _same(expected["last"], found[-1], now_s, where)
        case tag:
            raise AssertionError(f"{where}: unknown outcome {tag}")
