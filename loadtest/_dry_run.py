"""``--dry-run``: one request of each kind, and what would be recorded of it. Nothing is judged."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator

from loadtest._aftermath import undo
from loadtest._answers import BLOCKED, city_of, failure_of
from loadtest._client import Answer, Clients, Failed
from loadtest._dispatch import Arrival, Clock, arrivals
from loadtest._forecast import forecast
from loadtest._messages import Message, Messages
from loadtest._secrets import MASK
from loadtest._server import UNSEEN, EmulationFailed, Server
from loadtest._workload import Workload
from reference_impl.http.evidence_headers import decode
from reports.cli import NOT_VALID, WRONG_INPUT
from scenarios.plan import ATTRIBUTION

SHOWN = (
    *("cache-status", "server-timing", "cf-ray", "cf-cache-status", "cf-mitigated"),
    *("content-type", "location", "retry-after", "server"),
)
"""Headers of an answer that are shown if they are there."""

MISSED = 20

_SHOWN_BODY_CHARS = 400


class DryRun:
    """Sends the requests and tells of them; ``code`` is the exit code that follows."""

    def __init__(self, workload: Workload) -> None:
        self.code = 0
        self._setup = workload.setup
        self._workload = workload
        self._clock = Clock()
        self._clients = Clients(self._setup)
        self._run_id = f"dry-{uuid.uuid4().hex[:8]}"
        self._messages = Messages(self._setup, workload.conversions, self._run_id)
        self._server = Server(self._setup, self._run_id) if self._setup.token else None

    def lines(self) -> Iterator[str]:
        """What to print, as it happens."""
        try:
            self._start_emulation()
        except EmulationFailed as error:
            self.code = NOT_VALID
            yield f"{NOT_VALID} not valid: the server did not start its emulated world: {error}"
            return
        kinds = first_of_each_kind(self._workload)
        for kind, arrival in kinds.items():
            yield from self._try(kind, arrival)
        yield from self._statistics()
        self._clients.close()
        yield "a run of this scenario:"
        yield from (f"  {line}" for line in forecast(self._setup))
        if statement := undo(self._setup, self._run_id):
            yield f"the events of this dry run are deleted by: {statement}"
        yield self._last_line(len(kinds))

    def _start_emulation(self) -> None:
        if self._setup.kind == "emulated":
            if self._server is None:
                raise EmulationFailed("EDGEKPI_TOKEN is not set")
            self._clock.start(self._server.start_emulation(self._setup.seed))
            self._clock.sleep_until(0)

    def _try(self, kind: str, arrival: Arrival) -> Iterator[str]:
        message = self._messages.write(arrival, time.time_ns() // 1000)
        yield f"{kind}, to {self._setup.targets[message.route].url}:"
        yield from (f"  > {line}" for line in self._sent(message))
        start_us = self._clock.now_us()
        try:
            answer = self._clients.exchange(message.route, message.payload)
        except Failed as error:
            self._found(NOT_VALID)
            yield f"  < no answer: {error.reason} {self._mask(error.detail)}".rstrip()
            return
        took_ms = (self._clock.now_us() - start_us) / 1000
        yield from (f"  < {self._mask(line)}" for line in self._received(message, answer, took_ms))

    def _sent(self, message: Message) -> Iterator[str]:
        """The request without one secret in it."""
        route = getattr(self._setup.mapped, message.route)
        headers = self._setup.mapped.headers_of(route)
        hidden = {name.lower() for name, header in headers.items() if header.secret}
        head, _, body = message.payload.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        yield self._mask(first)
        for line in lines:
            name, _, value = line.partition(": ")
            secret = name.lower() in hidden or name.lower() == "authorization"
            yield f"{name}: {MASK if secret else self._mask(value)}"
        if body:
            yield self._mask(body[:_SHOWN_BODY_CHARS])

    def _received(self, message: Message, answer: Answer, took_ms: float) -> Iterator[str]:
        failure = failure_of(message, answer, self._setup.kind == "live")
        expected = ", ".join(map(str, message.expected))
        self._judge(answer, failure)
        yield f"status {answer.status}, {took_ms:.1f} ms: {failure or 'success'}" + (
            f" (expected {expected})" if failure else ""
        )
        evidence = decode(answer.headers)
        looked = [f"{lookup.cache_type} by {lookup.layer}" for lookup in evidence.lookups]
        if looked or message.route == "attribution":
            yield f"layers: {', '.join(looked) or 'unknown, there is no Cache-Status'}"
        asked = [f"{call.name} {call.total_us / 1000:g} ms" for call in evidence.d1]
        yield f"D1: {', '.join(asked) or 'none told in Server-Timing'}"
        cpu = evidence.cpu_us
        yield f"CPU: {'not told in Server-Timing' if cpu is None else f'{cpu / 1000:g} ms'}"
        yield f"city: {city_of(answer) or 'unknown, there is no CF-Ray'}"
        for name in SHOWN:
            if name in answer.headers:
                yield f"{name}: {_printable(answer.headers[name])}"

    def _judge(self, answer: Answer, failure: str | None) -> None:
        if failure is None:
            return
        if failure.startswith(BLOCKED):
            self._found(NOT_VALID)
        else:
            self._found(MISSED if answer.status >= 500 else WRONG_INPUT)

    def _found(self, code: int) -> None:
        """Keep the worst: 23, then 22, then 20."""
        self.code = max(self.code, code)

    def _statistics(self) -> Iterator[str]:
        path = self._setup.mapped.statistics
        yield f"statistics ({path}):"
        read = "EDGEKPI_TOKEN is not set" if self._server is None else self._server.statistics()
        if isinstance(read, str):
            yield f"  none, {self._mask(read)}: queue times and memory will be no-data"
            return
        told = read.get("cumulative")
        series = [name for name in UNSEEN if isinstance(told, dict) and name in told]
        yield f"  series: {', '.join(series) or 'none yet of the queue'}"
        memory = read.get("memory_max_bytes")
        yield f"  memory: {memory if memory is not None else 'not told'}"

    def _last_line(self, requests: int) -> str:
        words = {
            0: f"dry run: {requests} requests, each answered as expected; nothing was judged",
            MISSED: "missed: the deployment failed, see its status above; nothing was judged",
            NOT_VALID: "not valid: no answer of the deployment itself, see above",
            WRONG_INPUT: "wrong input: an answer is not the one expected; correct the scenario's "
            "target or population",
        }
        return f"{self.code} {words[self.code]}"

    def _mask(self, text: str) -> str:
        token = self._setup.token
        text = self._setup.secrets.mask(text)
        return text.replace(token, MASK) if token else text


def first_of_each_kind(workload: Workload) -> dict[str, Arrival]:
    """A look-up, an event and an event that touches a conversion, as far as the plan has them."""
    load = workload.setup.scenario.workload
    wanted = {
        "look-up": load.attribution.rate_per_s > 0,
        "event": load.tracking.rate_per_s > 0 and load.tracking.attributed_share < 1,
        "event of a known conversion": load.tracking.rate_per_s > 0
        and load.tracking.attributed_share > 0,
    }
    missing = [kind for kind, is_wanted in wanted.items() if is_wanted]
    found: dict[str, Arrival] = {}
    for arrival in arrivals(workload.plan):
        kind = "event of a known conversion" if arrival.attributed else "event"
        kind = "look-up" if arrival.route == ATTRIBUTION else kind
        found.setdefault(kind, arrival)
        if len(found) == len(missing):
            break
    return found


def _printable(text: str) -> str:
    """A header of somebody else's, fit for a terminal."""
    return re.sub(r"[^ -~]", "?", text)[:200]
