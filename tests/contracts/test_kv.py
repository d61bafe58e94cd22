"""The KV contract on every stand-in: fakeredis, a real Valkey, one node of the modelled world."""

from __future__ import annotations

import pytest

from reference_impl.ports import KVNamespace
from tests.contracts.kv_contract import CASES, Case, KVWorld
from tests.contracts.stands import Clock, Sleep, kv_in_memory, kv_on_one_node, kv_on_valkey
from tests.valkey import Valkey


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("stand", ["memory", "valkey", "node"])
def test_kv_contract(stand: str, case: Case, valkey: Valkey) -> None:
    """Each case holds on each implementation; the node takes one write a second of a key."""

    async def work(kv: KVNamespace, sleep: Sleep, now: Clock) -> None:
        await case(KVWorld(kv, sleep, now))

    if stand == "memory":
        kv_in_memory(work)
    elif stand == "valkey":
        kv_on_valkey(valkey.url)(work)
    else:
        kv_on_one_node(work, spacing_us=1_000_000)


def test_every_case_says_what_it_holds() -> None:
    """A case without a docstring, or two of one name, would be a hole in the contract."""
    assert all(case.__doc__ for case in CASES)
    assert len({case.__name__ for case in CASES}) == len(CASES)
