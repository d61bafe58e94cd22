"""What was observed on Cloudflare's runtime, replayed on every stand-in for KV and D1.

Our own cases lie beside this file. A larger collection is replayed as well where there is one:
at ``$EDGEKPI_CONFORMANCE``, or beside the repository. Of it core and limit cases must agree; quirks
are coercions of JavaScript, see docs/stores.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reference_impl.ports import D1Database, KVNamespace
from tests.contracts.replay import Case, Stores, read_cases, replay
from tests.contracts.stands import (
    START_S,
    Clock,
    D1Work,
    KVWork,
    Sleep,
    d1_in_memory,
    d1_in_world,
    d1_on_file,
    kv_in_memory,
    kv_on_one_node,
    kv_on_valkey,
)
from tests.valkey import Valkey

OWN = Path(__file__).with_name("cases.jsonl")
BESIDE = Path(__file__).parents[2].parent / "shared" / "conformance" / "cases.jsonl"
TIERS = ("core", "limit")


def cases(binding: str) -> list[Case]:
    """Our own cases, and those of a collection that lies beside the repository."""
    beside = Path(os.environ.get("EDGEKPI_CONFORMANCE", BESIDE))
    others = read_cases(beside, binding) if beside.exists() else []
    return [*read_cases(OWN, binding), *(case for case in others if case["tier"] in TIERS)]


def start_s(case: Case) -> float:
    """What time it is when the case begins: its own, if it sets the clock."""
    first = case["steps"][0]
    return float(first.get("set_s", START_S))


@pytest.mark.parametrize("case", cases("KV"), ids=lambda case: case["id"])
@pytest.mark.parametrize("stand", ["memory", "valkey", "node"])
def test_kv_agrees(stand: str, case: Case, valkey: Valkey) -> None:
    """Success, value and kind of error of every step."""

    async def work(kv: KVNamespace, sleep: Sleep, now: Clock) -> None:
        await replay(case, Stores(kv=kv, now_s=now, pass_s=sleep))

    runners: dict[str, Callable[[KVWork, float], None]] = {
        "memory": kv_in_memory,
        "valkey": kv_on_valkey(valkey.url),
        "node": kv_on_one_node,
    }
    runners[stand](work, start_s(case))


@pytest.mark.parametrize("case", cases("D1"), ids=lambda case: case["id"])
@pytest.mark.parametrize(
    "run", [d1_in_memory, d1_on_file, d1_in_world], ids=["memory", "file", "world"]
)
def test_d1_agrees(run: Callable[[D1Work, Path], None], case: Case, tmp_path: Path) -> None:
    """Success, value and kind of error of every step."""

    async def work(d1: D1Database) -> None:
        await replay(case, Stores(d1=d1))

    run(work, tmp_path)
