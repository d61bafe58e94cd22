"""Plain assertions in the suites below explain themselves as those of test files do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.valkey import Valkey, running_valkey

pytest.register_assert_rewrite(
    "tests.contracts.runtime_contract",
    "tests.contracts.structured_contract",
    "tests.contracts.deadline_contract",
    "tests.contracts.kv_contract",
    "tests.contracts.runners",
    "tests.contracts.replay",
)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A real server, one for the whole session."""
    with running_valkey() as server:
        yield server
