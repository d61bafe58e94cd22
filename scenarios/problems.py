"""Problems over several fields, each told at the field that is to be changed."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


def problem(loc: tuple[str | int, ...], text: str) -> InitErrorDetails:
    """What is wrong at ``loc``, a path below the part that is being checked."""
    error = PydanticCustomError("scenario", "{text}", {"text": text})
    return InitErrorDetails(type=error, loc=loc, input=None)


def refuse(part: str, problems: Sequence[InitErrorDetails]) -> None:
    """Raise ``ValidationError`` with all ``problems``, if there are any."""
    if problems:
        raise ValidationError.from_exception_data(part, list(problems))
