"""From one arrival of the plan to the bytes of its HTTP request."""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import quote

from loadtest._dispatch import Arrival
from loadtest._guard import Target
from scenarios.journeys import Population
from scenarios.plan import TRACKING
from scenarios.requests import event_of
from scenarios.schema import Scenario


class Message(NamedTuple):
    """One request: its route, the status that means success, its name in Locust, its bytes."""

    route: str
    expected: int
    method: str
    name: str
    payload: bytes


class Messages:
    """Writes the requests of one run; each carries the run, its number in the plan and its node."""

    def __init__(
        self, scenario: Scenario, population: Population, target: Target, run_id: str
    ) -> None:
        self._conversions = population.conversions
        self._model = scenario.workload.attribution.model
        self._nodes = [node.name for node in scenario.edge.nodes]
        self._prefix = target.prefix
        self._run_id = run_id
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in _headers(target, run_id))

    def write(self, arrival: Arrival, wall_us: int) -> Message:
        """The request of ``arrival``, whose intended start lies at ``wall_us`` since 1970."""
        if arrival.route == TRACKING:
            number, key, attributed = arrival.number, arrival.key, arrival.attributed
            event = event_of(self._conversions, self._run_id, number, key, attributed, wall_us)
            payload = self._bytes(arrival, "POST", "/track", json.dumps(event).encode())
            return Message("tracking", 202, "POST", "/track", payload)
        conversion_id = quote(self._conversions[arrival.key].conversion_id, safe="")
        path = f"/api/attribution/{conversion_id}?model={self._model}"
        payload = self._bytes(arrival, "GET", path, b"")
        return Message("attribution", 200, "GET", "/api/attribution", payload)

    def _bytes(self, arrival: Arrival, method: str, path: str, body: bytes) -> bytes:
        head = (
            f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._headers}"
            f"X-EdgeKPI-Number: {arrival.number}\r\nX-EdgeKPI-Node: {self._nodes[arrival.node]}\r\n"
        )
        if method == "POST":
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode("ascii") + body


def _headers(target: Target, run_id: str) -> list[tuple[str, str]]:
    headers = [
        ("Host", target.authority),
        ("User-Agent", "edgekpi"),
        ("Accept", "*/*"),
        ("X-EdgeKPI-Run", run_id),
    ]
    if target.authorization is not None:
        headers.append(("Authorization", target.authorization))
    return headers
