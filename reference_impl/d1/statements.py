"""What statements are made of: their values, the places for these, and how many one may bind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from reference_impl.ports import SqlValue

T = TypeVar("T")

MAX_BOUND_VALUES = 100
"""https://developers.cloudflare.com/d1/platform/limits/: values one statement may bind."""

Command = tuple[str, tuple[SqlValue, ...]]
"""A statement and its values."""


def marks(count: int) -> str:
    """``?, ?, ?``: places for so many values."""
    return ", ".join("?" * count)


def places(columns: int, rows: int) -> str:
    """``(?, ?), (?, ?)``: places for so many rows of so many values."""
    return ", ".join([f"({marks(columns)})"] * rows)


def in_parts(whole: Sequence[T], most: int) -> list[Sequence[T]]:
    """``whole`` in its order, in parts of ``most`` each but for the last."""
    return [whole[start : start + most] for start in range(0, len(whole), most)]
