"""From one arrival of the plan to the bytes of its HTTP request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import quote

from loadtest._bodies import Values, body_of
from loadtest._dispatch import Arrival
from loadtest._guard import Target
from loadtest._secrets import Secrets
from reference_impl.times import from_wall_us
from scenarios.headers import SIGNED_FIELDS, Header
from scenarios.journeys import Conversion
from scenarios.plan import TRACKING
from scenarios.requests import event_of
from scenarios.schema import Scenario
from scenarios.target import Route
from scenarios.target import Target as Mapped
from scenarios.template import Template


class Message(NamedTuple):
    """One request: its route, the statuses that mean success, its name in Locust, its bytes."""

    route: str
    expected: tuple[int, ...]
    method: str
    name: str
    payload: bytes


class Asked(Protocol):
    """What the words of a request depend on; a setup has all of it."""

    @property
    def scenario(self) -> Scenario: ...

    @property
    def mapped(self) -> Mapped: ...

    @property
    def targets(self) -> Mapping[str, Target]: ...

    @property
    def secrets(self) -> Secrets: ...


class Messages:
    """Writes the requests of one run; each carries the run, its number in the plan and its node."""

    def __init__(self, setup: Asked, conversions: Sequence[Conversion], run_id: str) -> None:
        self._conversions = conversions
        self._model = setup.scenario.workload.attribution.model
        self._nodes = [node.name for node in setup.scenario.edge.nodes]
        self._run_id = run_id
        self._lookups = _Writer("attribution", setup.mapped.attribution, setup, run_id)
        self._events = _Writer("tracking", setup.mapped.tracking, setup, run_id)

    def write(self, arrival: Arrival, wall_us: int) -> Message:
        """The request of ``arrival``, whose intended start lies at ``wall_us`` since 1970."""
        common = {
            "run_id": self._run_id,
            "number": str(arrival.number),
            "node": self._nodes[arrival.node],
            "timestamp": from_wall_us(wall_us),
            "timestamp_ms": str(wall_us // 1000),
            "timestamp_s": str(wall_us // 1_000_000),
        }
        if arrival.route == TRACKING:
            number, key, attributed = arrival.number, arrival.key, arrival.attributed
            event = event_of(self._conversions, self._run_id, number, key, attributed, wall_us)
            return self._events.write(common | event, event)
        asked = self._conversions[arrival.key]._asdict()
        return self._lookups.write({**common, **asked, "model": self._model}, None)


Compute = Callable[[Values], str]


class _Writer:
    """Writes the requests of one route."""

    def __init__(self, name: str, route: Route, setup: Asked, run_id: str) -> None:
        target = setup.targets[name]
        self._name = name
        self._route = route
        self._prefix = target.prefix
        self._path = Template(route.path, route.fields)
        self._stats_name = route.path.split("?")[0].split("{")[0].rstrip("/") or "/"
        self._body = body_of(route)
        self._fixed, self._computed = "", list[tuple[str, Compute]]()
        given = {
            header: _value(value, route.fields, setup.secrets)
            for header, value in setup.mapped.headers_of(route).items()
        }
        own = {name.lower() for name in given}
        standard = [pair for pair in _headers(target, run_id) if pair[0].lower() not in own]
        self._has_type = "content-type" in own
        for header, value in (*standard, *given.items()):
            if isinstance(value, str):
                self._fixed += f"{header}: {value}\r\n"
            else:
                self._computed.append((header, value))

    def write(self, values: Values, event: Mapping[str, str] | None) -> Message:
        method = self._route.method
        path = self._prefix + self._path.fill(values, _percent)
        kind, body = self._body_for(values, event)
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._fixed}"
            f"X-EdgeKPI-Number: {values['number']}\r\nX-EdgeKPI-Node: {values['node']}\r\n"
        )
        if self._computed:
            signed = {**values, "method": method, "path": path, "body": body}
            head += "".join(f"{name}: {make(signed)}\r\n" for name, make in self._computed)
        content = body.encode()
        if method != "GET":
            head += "" if self._has_type else f"Content-Type: {kind}\r\n"
            head += f"Content-Length: {len(content)}\r\n"
        payload = f"{head}\r\n".encode() + content
        return Message(self._name, self._route.expect, method, self._stats_name, payload)

    def _body_for(self, values: Values, event: Mapping[str, str] | None) -> tuple[str, str]:
        if self._body is not None:
            kind, write = self._body
            return kind, write(values)
        if event is not None and self._route.method != "GET":
            return "application/json", json.dumps(event)
        return "application/json", ""


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


def _value(header: Header, fields: tuple[str, ...], secrets: Secrets) -> str | Compute:
    """A header's value, or what computes it for each request."""
    if header.env is not None:
        return header.prefix + secrets[header.env]
    if header.secret_env is None:
        template = Template(header.value or "", fields)
        if not template.fields:
            return header.prefix + template.fill({})
        return lambda values: header.prefix + template.fill(values)
    key = secrets[header.secret_env].encode()
    signed = Template(header.hmac_sha256 or "", (*fields, *SIGNED_FIELDS))

    def sign(values: Values) -> str:
        digest = hmac.new(key, signed.fill(values).encode(), hashlib.sha256)
        if header.encoding == "hex":
            return header.prefix + digest.hexdigest()
        return header.prefix + base64.b64encode(digest.digest()).decode("ascii")

    return sign


def _percent(value: str) -> str:
    return quote(value, safe="")
