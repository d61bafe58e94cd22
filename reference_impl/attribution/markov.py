"""How much each channel matters: removal effects of a first-order Markov chain of journeys.

A visitor is a walk from channel to channel that ends in a conversion or in null (no conversion).
The chain's probabilities are the shares seen in stored journeys. Removing a channel sends whoever
would enter it to null; its effect is the share of conversions lost by that.
(Anderl, Becker, von Wangenheim, Schumann: "Mapping the customer journey", 2016.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

import numpy as np

Channel = str | None
"""A source's name, any text; None is a direct visit, which the chain treats as one more channel."""

MIN_CONVERSIONS = 2
"""Converting paths below which a history says nothing."""

_DECIMALS = 12
"""Effects are rounded to this, so that channels alike in the history have equal effects."""


@dataclass(frozen=True, slots=True)
class RemovalEffects:
    """Each channel's removal effect (0..1) and how many converting paths it was learnt from."""

    by_channel: Mapping[Channel, float]
    conversions: int

    def objection(self, channels: Sequence[Channel]) -> str | None:
        """Why these effects cannot divide credit among ``channels``; None if they can."""
        if self.conversions < MIN_CONVERSIONS:
            return f"fewer than {MIN_CONVERSIONS} converting paths in the history"
        for channel in channels:
            if channel not in self.by_channel:
                return f"channel {channel!r} is not in the history"
        if not any(self.by_channel[channel] for channel in channels):
            return "removing a channel of this journey would lose no conversion"
        return None


NO_HISTORY = RemovalEffects(MappingProxyType({}), 0)
"""What is known before any journey is stored."""


@dataclass(frozen=True, slots=True)
class Transitions:
    """How many stored journeys start at, step between, convert after and end at each channel.

    These counts are all a first-order chain keeps of a history. They add up: parts of a history
    may be counted apart, in any order.
    """

    starts: Counter[Channel] = field(default_factory=Counter)
    steps: Counter[tuple[Channel, Channel]] = field(default_factory=Counter)
    conversions: Counter[Channel] = field(default_factory=Counter)
    nulls: Counter[Channel] = field(default_factory=Counter)

    def add(self, channels: Sequence[Channel], conversions: int, nulls: int) -> None:
        """Count one path, oldest touch first, walked by so many journeys of either end.

        Raises:
            ValueError: for a path without touches or a negative count.
        """
        if not channels or conversions < 0 or nulls < 0:
            raise ValueError("a path needs a touch, and counts that are not negative")
        journeys = conversions + nulls
        if not journeys:
            return
        self.starts[channels[0]] += journeys
        for step in pairwise(channels):
            self.steps[step] += journeys
        self.conversions[channels[-1]] += conversions
        self.nulls[channels[-1]] += nulls

    def removal_effects(self) -> RemovalEffects:
        """Solve the chain. Time grows with the cube of the number of channels.

        With N = (I - Q)^-1 the expected visits, a walk ever enters channel c with probability
        (start N)_c / N_cc and converts from there with (N r)_c. Removing c loses exactly the
        conversions of walks that enter it, so its effect is that product over all conversions.
        Instead of I - Q the same in whole numbers is inverted, where a walk that hardly ever
        leaves a channel loses no digits; the factor between the two cancels.
        """
        channels = list(dict.fromkeys([*self.starts, *(entered for _, entered in self.steps)]))
        conversions = self.conversions.total()
        if not conversions:
            return RemovalEffects(dict.fromkeys(channels, 0.0), 0)
        place = {channel: at for at, channel in enumerate(channels)}
        steps = np.zeros((len(channels), len(channels)))
        for (left, entered), count in self.steps.items():
            steps[place[left], place[entered]] = count
        start = np.array([self.starts[channel] for channel in channels], dtype=float)
        converted = np.array([self.conversions[channel] for channel in channels], dtype=float)
        ended = np.array([self.nulls[channel] for channel in channels], dtype=float)
        leaving = np.diag(steps.sum(axis=1) + converted + ended)
        # Every journey ends, so the inverse exists; as many enter a channel as leave it, so the
        # diagonal dominates its columns, and elimination only ever adds: nothing falls below 0.
        visits = np.linalg.inv(leaving - steps)
        entering = start @ visits / np.diag(visits)
        converting = visits @ converted
        effects = entering * converting / (start @ converting)
        rounded = [round(effect, _DECIMALS) for effect in effects.tolist()]
        return RemovalEffects(dict(zip(channels, rounded, strict=True)), conversions)


def removal_effects(paths: Iterable[tuple[Sequence[Channel], int, int]]) -> RemovalEffects:
    """The effects of a history: paths with their numbers of conversions and of nulls.

    Raises:
        ValueError: for a path without touches or a negative count.
    """
    transitions = Transitions()
    for channels, conversions, nulls in paths:
        transitions.add(channels, conversions, nulls)
    return transitions.removal_effects()
