"""The answer to a question of attribution: one text, the same wherever it is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reference_impl.attribution.models import Credit, Touch


def attribution_text(
    conversion_id: str,
    model: str,
    journey: Sequence[Touch],
    shares: Sequence[Credit],
    note: str | None = None,
) -> str:
    """The JSON answer for one conversion; every layer holds exactly this text.

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
        for index, (touch, credit) in enumerate(zip(journey, shares, strict=True))
    ]
    answer = {"conversion_id": conversion_id, "model": model, "attribution": credited}
    return json.dumps(answer if note is None else answer | {"note": note}, separators=(",", ":"))
