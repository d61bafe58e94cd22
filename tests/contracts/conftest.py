"""Plain assertions in the suites below explain themselves as those of test files do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.contracts.runtime_contract",
    "tests.contracts.structured_contract",
    "tests.contracts.deadline_contract",
    "tests.contracts.kv_contract",
    "tests.contracts.runners",
)
