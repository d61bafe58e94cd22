"""Fixtures of the stack's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.reference_impl.fakes import Edge

# A property says nothing of speed: how busy the machine is must not fail it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def edge() -> Iterator[Edge]:
    """A small world in virtual time."""
    edge = Edge()
    yield edge
    edge.runtime.shutdown()
    edge.d1.engine.close()
