"""Everything that stands in for KV and D1, each to be run through the same suites."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from reference_impl.adapters import open_d1, open_kv
from reference_impl.adapters.d1_binding import D1Binding
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.ports import D1Database, KVNamespace
from sim.bridge import START_WALL_US, SimRuntime
from sim.d1 import D1Server
from sim.d1_database import D1Database as ModelledD1
from sim.d1_database import D1Executor
from sim.kv import KVBinding
from sim.kv_store import KVStore
from sim.kv_tiers import TIERS, Copies, KVNode
from tests.sim.small import always, edge_node, invocation, scenario

START_S = START_WALL_US / 1e6

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
KVWork = Callable[[KVNamespace, Sleep, Clock], Coroutine[Any, Any, None]]
D1Work = Callable[[D1Database], Coroutine[Any, Any, None]]

_numbers = itertools.count()
_QUICK = scenario(
    kv={name: always(0.001) for name in ("write_ms", *(f"read_{tier}_ms" for tier in TIERS))}
)


# --------------------------------------------------------------------------- KV


def kv_at(url: str, work: KVWork, start_s: float = START_S) -> None:
    """At a URL; lives count by a clock that is moved by hand."""
    now_s = start_s

    def now() -> float:
        return now_s

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    async def main() -> None:
        kv = await open_kv(url, now_s=now)
        try:
            await work(kv, sleep, now)
        finally:
            await kv.close()

    asyncio.run(main())


def kv_in_memory(work: KVWork, start_s: float = START_S) -> None:
    """On fakeredis."""
    kv_at("memory:", work, start_s)


def kv_on_valkey(url: str) -> Callable[..., None]:
    """On a real server; each time in a namespace that is new."""

    def run(work: KVWork, start_s: float = START_S) -> None:
        kv_at(f"{url}?namespace=n{next(_numbers)}", work, start_s)

    return run


def kv_on_one_node(work: KVWork, start_s: float = START_S, spacing_us: int = 0) -> None:
    """On one node of the modelled world, in virtual time, with its copies and next to no delay."""
    runtime = SimRuntime(start_wall_us=round(start_s * 1e6))
    per_s = 1_000_000 / spacing_us if spacing_us else 1e9
    settings = _QUICK.kv.model_copy(update={"writes_per_key_per_s": per_s})
    store = KVStore(runtime, settings)
    node = KVNode(store, Copies(store), settings)
    inv = invocation(runtime, _QUICK, 0, edge_node(runtime, _QUICK, "fra", node))
    binding = KVBinding(inv, store, node)

    async def sleep(seconds: float) -> None:
        await runtime.sleep(round(seconds * 1_000_000))

    in_virtual_time(runtime, work(binding, sleep, lambda: runtime.wall_us() / 1e6))


# --------------------------------------------------------------------------- D1


def d1_in_memory(work: D1Work, _folder: Path) -> None:
    """In this process."""
    _d1_at("sqlite::memory:", work)


def d1_on_file(work: D1Work, folder: Path) -> None:
    """On a file that is new."""
    _d1_at(f"sqlite:{folder / f'{next(_numbers)}.db'}", work)


def d1_in_world(work: D1Work, _folder: Path) -> None:
    """In the modelled world, in virtual time."""
    runtime = SimRuntime()
    engine = SqliteEngine()
    inv = invocation(runtime, _QUICK, 0)
    server = D1Server(runtime, engine, _QUICK.d1)
    binding = D1Binding(D1Executor(inv, ModelledD1(server, _QUICK.d1, {}, [])))
    in_virtual_time(runtime, work(binding))


def _d1_at(url: str, work: D1Work) -> None:
    async def main() -> None:
        d1 = await open_d1(url)
        try:
            await work(d1)
        finally:
            await d1.close()

    asyncio.run(main())


def in_virtual_time(runtime: SimRuntime, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to its end."""
    ended = []

    async def main() -> None:
        await work
        ended.append(True)

    runtime.spawn(main())
    runtime.run()
    assert ended
