"""How old the copies of KV entries are after a long run, played for all keys at once.

A copy is taken over by the next read once it is ``life - ahead`` old: within ``ahead`` of its end
that read has it refreshed, after its end it fetches. So a region's copy is born ``life - ahead``
plus an exponential time after the one before; a node takes the region's copy with the age that it
has by then. Only for one node has that a closed form, and the play is a few array operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LIVES = 5
"""So many lives before the instant asked for, the play begins with nothing; and up to a cycle
earlier, since the copies of hot keys come round like clockwork."""

SELDOM = 1e-12
"""Reads a second that stand for none."""


class CopyAges(NamedTuple):
    """Ages in seconds, by key, of the region's copy and each node's; infinite where none is."""

    region: Floats
    nodes: list[Floats]


def copy_ages(
    rates: Sequence[Floats], life_s: float, ahead_s: float, draws: np.random.Generator
) -> CopyAges:
    """The copies of one region whose nodes read each key at ``rates`` (a second, by node)."""
    slow = np.maximum(np.vstack(rates), SELDOM)
    nodes, keys = slow.shape
    due_s = life_s - ahead_s
    cycle_s = due_s + np.minimum(1 / slow.sum(axis=0), life_s)
    start_s = -LIVES * life_s - draws.random(keys) * cycle_s
    at_node = np.full((nodes, keys), -np.inf)
    at_region = np.full(keys, -np.inf)
    coming = start_s + draws.standard_exponential((nodes, keys)) / slow
    while True:
        who = np.argmin(coming, axis=0)
        live = np.flatnonzero(coming[who, np.arange(keys)] < 0)
        if not len(live):
            break
        who = who[live]
        now = coming[who, live]
        born = np.where(now - at_region[live] >= due_s, now, at_region[live])
        at_region[live] = at_node[who, live] = born
        wait = draws.standard_exponential(len(live)) / slow[who, live]
        coming[who, live] = np.maximum(now, born + due_s) + wait
    return CopyAges(_ages(at_region, life_s), [_ages(each, life_s) for each in at_node])


def _ages(born_s: Floats, life_s: float) -> Floats:
    return np.where(-born_s < life_s, -born_s, np.inf)
