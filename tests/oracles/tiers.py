"""Two TTL caches in a row, look-up by look-up: who answers, if answering takes no time."""

from __future__ import annotations

from collections.abc import Iterable

SECOND_US = 1_000_000


def two_tiers(look_ups: Iterable[tuple[int, int]], near_us: int, far_us: int) -> list[str]:
    """``L``, ``K`` or ``M`` for each (time, key), in their order: near, far, neither.

    The far tier keeps what was fetched for ``far_us`` from the last whole second on, as KV does.
    The near one keeps for ``near_us`` from each time that it asked further: what was fetched no
    longer than ``far_us``, what the far tier had no longer than that will have it.
    """
    near_until: dict[int, int] = {}
    far_until: dict[int, int] = {}
    answers = []
    for at_us, key in look_ups:
        if at_us < near_until.get(key, 0):
            answers.append("L")
        elif at_us < far_until.get(key, 0):
            answers.append("K")
            near_until[key] = min(at_us + near_us, far_until[key])
        else:
            answers.append("M")
            far_until[key] = at_us // SECOND_US * SECOND_US + far_us
            near_until[key] = at_us + min(near_us, far_us)
    return answers
