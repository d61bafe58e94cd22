"""What the requests of a plan say, the same words in both worlds."""

from __future__ import annotations

from collections.abc import Sequence

from reference_impl.messages import Evidence
from reference_impl.times import from_wall_us
from scenarios.journeys import Conversion

CHANNELS = ("search", "social", "email", "display", "direct")
"""Sources of the events that a run makes up, in turn by request number."""


def event_of(
    conversions: Sequence[Conversion],
    run_id: str,
    number: int,
    key: int,
    attributed: bool,
    wall_us: int,
) -> dict[str, str]:
    """The event that request ``number`` posts: ``key`` and ``attributed`` as the plan has them.

    Its ``event_id`` and ``utm_source`` begin with ``edgekpi-``, so that it can be found again.
    """
    event = {
        "event_id": f"edgekpi-{run_id}-{number}",
        "user_id": f"visitor-{key}",
        "event_name": "touch",
        "utm_source": f"edgekpi-{CHANNELS[number % len(CHANNELS)]}",
        "utm_medium": "edgekpi",
        "utm_campaign": f"edgekpi-{run_id}",
        "event_timestamp": from_wall_us(wall_us),
    }
    if attributed:
        event["user_id"] = conversions[key].user_id
        event["conversion_id"] = conversions[key].conversion_id
    return event


def layers_of(evidence: Evidence) -> str:
    """The initial of the layer that answered each look-up, in their order."""
    return "".join(lookup.layer[0].upper() for lookup in evidence.lookups)
