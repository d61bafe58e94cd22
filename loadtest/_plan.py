"""The plan as CSV, so that another load generator can play the same load."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

from loadtest._dispatch import arrivals
from loadtest._guard import Target
from loadtest._messages import Messages
from loadtest._secrets import Secrets
from scenarios.journeys import EPOCH_US, Conversion
from scenarios.plan import Plan
from scenarios.schema import Scenario
from scenarios.target import Target as Mapped

RUN_ID = "plan"
NOWHERE = Target("http", "localhost", 80, "", ())


class Planned(NamedTuple):
    """One request: when it is due, in microseconds from the start of the plan, and what it asks.

    Events carry the run ``plan`` and time stamps counted from 2026-01-01, so that equal plans give
    equal files. Headers are left out: they may hold secrets, and are the same for a whole route.
    """

    number: int
    intended_us: int
    route: str
    node: str
    method: str
    path: str
    body: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the words of a request depend on; no secret goes into path or body."""

    scenario: Scenario
    mapped: Mapped
    targets: dict[str, Target]
    secrets: Secrets


def requests_of(
    scenario: Scenario, seed: int, conversions: Sequence[Conversion]
) -> Iterator[Planned]:
    """Every request of the plan, in its order, as the load test would ask it."""
    names = scenario.target.secrets()
    asked = _Asked(
        scenario,
        scenario.target,
        dict.fromkeys(("attribution", "tracking"), NOWHERE),
        Secrets(names, dict.fromkeys(names, "-")),
    )
    messages = Messages(asked, conversions, RUN_ID)
    nodes = [node.name for node in scenario.edge.nodes]
    for arrival in arrivals(Plan(scenario, seed, len(conversions))):
        message = messages.write(arrival, EPOCH_US + arrival.intended_us)
        head, _, body = message.payload.partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        yield Planned(
            arrival.number,
            arrival.intended_us,
            message.route,
            nodes[arrival.node],
            message.method,
            path,
            body.decode(),
        )


def write_csv(file: TextIO, planned: Iterator[Planned], advance: Callable[[int], None]) -> None:
    """Write a legend and all requests; ``advance`` is told how many more there are."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Planned._fields)
    for request in planned:
        writer.writerow(request)
        advance(1)
