"""Removal effects by rewiring the graph of journeys, in exact fractions.

Nothing here is shared with the stack: a channel is removed by really sending its edges to null,
and the chain is solved by taking its states out one at a time until only the ends are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

Name = str | None
State = tuple[str, Name]
Graph = dict[State, dict[State, Fraction]]

START: State = ("start", None)
CONVERSION: State = ("conversion", None)
NULL: State = ("null", None)


def removal_effects(paths: Iterable[tuple[Sequence[Name], int, int]]) -> dict[Name, Fraction]:
    """The share of all conversions that each channel's removal would lose; 0 without any."""
    graph = _graph(paths)
    everything = _conversion_probability(graph)
    channels = [name for kind, name in graph if kind == "channel"]
    if not everything:
        return dict.fromkeys(channels, Fraction(0))
    return {
        name: 1 - _conversion_probability(_without(graph, ("channel", name))) / everything
        for name in channels
    }


def _graph(paths: Iterable[tuple[Sequence[Name], int, int]]) -> Graph:
    """For each state, the probability of every next one."""
    counts: dict[State, dict[State, int]] = {}
    for channels, conversions, nulls in paths:
        for end, journeys in ((CONVERSION, conversions), (NULL, nulls)):
            walk = [START, *(("channel", name) for name in channels), end]
            for state, following in pairwise(walk):
                if journeys:
                    edges = counts.setdefault(state, {})
                    edges[following] = edges.get(following, 0) + journeys
    return {
        state: {to: Fraction(n, sum(edges.values())) for to, n in edges.items()}
        for state, edges in counts.items()
    }


def _without(graph: Graph, removed: State) -> Graph:
    """The graph in which every edge into the state leads to null."""
    rewired: Graph = {}
    for state, edges in graph.items():
        rewired[state] = {}
        for to, probability in edges.items():
            target = NULL if to == removed else to
            rewired[state][target] = rewired[state].get(target, Fraction(0)) + probability
    return rewired


def _conversion_probability(graph: Graph) -> Fraction:
    """The probability of ever getting from the start to the conversion."""
    left = {state: dict(edges) for state, edges in graph.items()}
    for state in [state for state in graph if state != START]:
        edges = left.pop(state)
        staying = edges.pop(state, Fraction(0))
        onward = {to: probability / (1 - staying) for to, probability in edges.items()}
        for others in left.values():
            through = others.pop(state, Fraction(0))
            for to, probability in onward.items():
                others[to] = others.get(to, Fraction(0)) + through * probability
    return left.get(START, {}).get(CONVERSION, Fraction(0))
