"""The answer to a question of attribution: one text, the same wherever it is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reference_impl.attribution.models import Credit, Journey


def attribution_text(
    conversion_id: str,
    model: str,
    journey: Journey,
    shares: Sequence[Credit],
    note: str | None = None,
) -> str:
    """The JSON answer for one conversion; every layer holds exactly this text.

    It says ``truncated`` where touches were left out, and nothing of it where none were.
    ``note``: why the model could not divide the credit as it means to, if it could not.
    """
    credited = [
        {
            "touchpoint_index": index,
            "utm_source": touch.utm_source,
            "event_timestamp": touch.event_timestamp,
            "credit_percentage": credit.percent,
            "role": credit.role,
        }
        for index, (touch, credit) in enumerate(zip(journey.touches, shares, strict=True))
    ]
    answer: dict[str, Any] = {
        "conversion_id": conversion_id,
        "model": model,
        "attribution": credited,
    }
    if journey.truncated:
        answer["truncated"] = True
    if note is not None:
        answer["note"] = note
    return json.dumps(answer, separators=(",", ":"))
