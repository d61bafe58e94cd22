"""Arguments of the queries, checked before anything travels, with one clear message each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from reference_impl.attribution.models import MODELS
from reference_impl.d1.statements import MAX_BOUND_VALUES
from reference_impl.events import MAX_NAME
from reference_impl.ports import SqlValue


class BadArgument(ValueError):
    """A caller asked for what cannot be answered; the message says what was expected."""


def checked_id(name: str, value: Any) -> str:
    """``value`` if it could be the ID of an event: text of 1 to 128 characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not _is_unicode(value):
        raise BadArgument(f"{name} must be text of 1 to {MAX_NAME} characters, not {_shown(value)}")
    return value


def checked_count(name: str, value: Any, most: int) -> int:
    """``value`` if it is a whole number from 1 to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        expected = f"must be a whole number from 1 to {most}"
        raise BadArgument(f"{name} {expected}, not {_shown(value)}")
    return value


def checked_model(value: Any) -> str:
    """``value`` if it is one of the seven models."""
    if not isinstance(value, str) or value not in MODELS:
        raise BadArgument(f"unknown model {_shown(value)}; one of {', '.join(MODELS)}")
    return value


def checked_values(params: Iterable[Any]) -> tuple[SqlValue, ...]:
    """``params`` if one statement may bind them: at most 100, and nothing that D1 would change.

    D1 takes NaN and infinities and stores NULL; here they are refused.
    """
    if isinstance(params, str | bytes):
        raise BadArgument(f"params must be a list of values, not {_shown(params)}")
    values = tuple(params)
    if len(values) > MAX_BOUND_VALUES:
        raise BadArgument(f"a statement binds at most {MAX_BOUND_VALUES} values, not {len(values)}")
    for number, value in enumerate(values, 1):
        if not _can_be_bound(value):
            raise BadArgument(
                f"value {number} must be text, a finite number, bytes or None, not {_shown(value)}"
            )
    return values


def _can_be_bound(value: Any) -> bool:
    if isinstance(value, str):
        return _is_unicode(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int | bytes)


def _is_unicode(text: str) -> bool:
    """JSON can carry halves of surrogate pairs, which are no text in UTF-8."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Any) -> str:
    """The value as a message may show it: bounded, and safe to print."""
    text = ascii(value)
    return text if len(text) <= 100 else text[:100] + "..."
