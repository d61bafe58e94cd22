"""Fixtures of the stack's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reference_impl.fakes import Edge


@pytest.fixture
def edge() -> Iterator[Edge]:
    """A small world in virtual time."""
    edge = Edge()
    yield edge
    edge.runtime.shutdown()
    edge.d1.engine.close()
