"""The fixtures of the stack's tests."""

from tests.reference_impl.conftest import edge

__all__ = ["edge"]
