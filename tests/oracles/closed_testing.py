"""Several tests at once, the dull way: try every subset of the hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def rejected(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses fall: those of which every subset of all that holds them falls.

    A subset falls if its smallest p-value is at most alpha over its size (Bonferroni). This is the
    closed procedure (Marcus, Peritz, Gabriel 1976), which Holm's steps are a short way through.
    """
    everything = range(len(p_values))
    subsets = [set(some) for size in everything for some in combinations(everything, size + 1)]
    return [
        all(
            min(p_values[index] for index in subset) <= alpha / len(subset)
            for subset in subsets
            if hypothesis in subset
        )
        for hypothesis in everything
    ]
