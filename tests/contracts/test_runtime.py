"""The contract suite on both runtimes, in virtual time."""

from __future__ import annotations

import pytest

import tests.contracts.deadline_contract
import tests.contracts.structured_contract  # noqa: F401  (both add their cases)
from tests.contracts.runners import Runner, on_sim, on_virtual_loop
from tests.contracts.runtime_contract import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("runner", [on_sim, on_virtual_loop], ids=["sim", "asyncio"])
def test_contract(runner: Runner, case: Case) -> None:
    """Each case holds on each runtime and leaves nothing behind."""
    runner(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_tell_the_same_story(case: Case) -> None:
    """Event by event and microsecond by microsecond, the runtimes cannot be told apart."""
    assert on_sim(case).story == on_virtual_loop(case).story


def test_every_case_says_what_it_holds() -> None:
    """A case without a docstring, or two of one name, would be a hole in the contract."""
    assert all(case.__doc__ for case in CASES)
    assert len({case.__name__ for case in CASES}) == len(CASES)
