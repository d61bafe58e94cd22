"""What every part of a scenario is made of: strict settings, and checks with words to them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Sized = TypeVar("Sized", bound=Sequence[Hashable])

NAME = r"^[a-z0-9_-]+$"


def known(names: Iterable[str], what: str) -> AfterValidator:
    """A check that a text is one of ``names``; ``what`` says what these are."""
    listed = tuple(names)

    def check(name: str) -> str:
        if name in listed:
            return name
        raise ValueError(f"{name!r} is no {what}{meant(name, listed)}")

    return AfterValidator(check)


def meant(word: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown ``word``: the likeliest name, or all of them."""
    listed = list(names)
    close = get_close_matches(word, listed, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(listed)}"


class Part(BaseModel):
    """Base of all settings: strict types, no unknown fields, unchangeable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def some(values: Sized) -> Sized:
    """``values`` unchanged; ValueError when there are none."""
    if not values:
        raise ValueError("expected at least one entry")
    return values


def distinct(values: Sized) -> Sized:
    """``values`` unchanged; ValueError names the first one that is there twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} is listed twice")
    return values


class LatencyMs(Part):
    """A lognormal latency law by its median and 99 % point, in ms."""

    p50: float = Field(gt=0, le=60_000, description="median in ms")
    p99: float = Field(gt=0, le=600_000, description="99 % point in ms, at least the median")

    @model_validator(mode="after")
    def _ordered(self) -> LatencyMs:
        if self.p99 < self.p50:
            raise ValueError(f"p99 ({self.p99:g}) must be at least p50 ({self.p50:g})")
        return self
