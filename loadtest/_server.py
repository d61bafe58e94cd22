"""What a server of ours tells beside its answers: its statistics, and when its clock starts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from loadtest._client import Answer, Client, Failed
from loadtest._setup import Setup
from reference_impl.messages import Layer
from reference_impl.profiling.hdr import Histogram
from reports.record import is_maximum
from reports.recorder import Recorder

EMULATION_PATH = "/api/emulation/start"
TIMEOUT_S = 30.0
ZERO_IN_US = (2_000_000, 20_000_000)
"""How far ahead an emulating server is asked to start; the second if the first was too soon."""


class EmulationFailed(Exception):
    """The server did not start its emulated world; the message says why."""


class Server:
    """The endpoints for whoever started the server, opened by its token."""

    def __init__(self, setup: Setup, run_id: str) -> None:
        target = setup.target
        self._client = Client(target, keep_alive=False, timeout_s=TIMEOUT_S)
        self._head = (
            f"Host: {target.authority}\r\nUser-Agent: edgekpi\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {setup.token}\r\nX-EdgeKPI-Run: {run_id}\r\n"
        )
        self._statistics = setup.mapped.statistics
        self._prefix = target.prefix

    def start_emulation(self, seed: int) -> int:
        """Have the server fill its caches and start its clock; zero on ``perf_counter_ns``.

        Raises:
            EmulationFailed: when it does not, or not in time.
        """
        for zero_in_us in ZERO_IN_US:
            body = json.dumps({"seed": seed, "zero_in_us": zero_in_us}).encode()
            sent_ns = time.perf_counter_ns()
            try:
                answer = self._exchange("POST", EMULATION_PATH, body)
            except Failed as error:
                raise EmulationFailed(f"{error.reason} {error.detail}".strip()) from None
            if answer.status != 200:
                raise EmulationFailed(f"the server answered {answer.status}")
            zero_ns = sent_ns + zero_in_us * 1000
            if time.perf_counter_ns() < zero_ns:
                return zero_ns
        raise EmulationFailed(f"it takes longer than {ZERO_IN_US[-1] // 1_000_000} s to be ready")

    def statistics(self) -> Mapping[str, Any] | str:
        """The server's cumulative statistics, or why there are none."""
        path = self._statistics
        try:
            answer = self._exchange("GET", path)
        except Failed as error:
            return f"{path}: {error.reason}"
        if answer.status != 200:
            return f"{path} answered {answer.status}"
        try:
            data = json.loads(answer.body)["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            data = None
        return data if isinstance(data, dict) else f"{path} is not readable"

    def _exchange(self, method: str, path: str, body: bytes = b"") -> Answer:
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._head}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return self._client.exchange(f"{head}\r\n".encode("ascii") + body)


UNSEEN = ("d1.consumer", "queue.accepted_to_stored", "queue.handling", "staleness.age")
"""What no answer can carry. The rest of what the server counts, the answers have told already."""

COUNTED = (
    "kv.",
    "d1.",
    "isolates.",
    "queue.sent",
    "queue.refused",
    "queue.duplicates",
    "queue.consumers_max",
    "queue.dead",
)
"""How the names begin of what an emulated world counts and never takes back."""

UNTOLD = ("d1.request", "cpu")
"""What answers carry, and is taken from the server if none of them did."""


def merge_window(
    recorder: Recorder,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    wanted: Iterable[str] = UNSEEN,
) -> set[str]:
    """Record what the server counted between two readings, all of it or nothing.

    ``wanted`` names series, and ``cache`` for the look-ups by layer; what of it was there comes
    back.

    Raises:
        ValueError: when the readings do not belong together (a restart in between) or are damaged.
    """
    wanted = set(wanted)
    if len({_part(reading, "instance").get("id") for reading in (before, after)}) > 1:
        raise ValueError("they were counted by two instances, or by one that began anew")
    counted = _series(before, after, wanted)
    lookups = _lookups(before, after) if "cache" in wanted else []
    counts = _counted(before, after)
    memory = after.get("memory_max_bytes")
    if memory is not None:
        recorder.memory(_count(memory))
    recorder.merge_counts(counts)
    for series, histogram, failed in counted:
        recorder.merge_histogram(series, histogram, failed)
    for cache_type, layer, count in lookups:
        recorder.merge_lookups(cache_type, layer, count)
    found = {series for series, histogram, failed in counted if histogram.count or failed}
    return found | ({"cache"} if any(count for _, _, count in lookups) else set())


def _series(
    before: Mapping[str, Any], after: Mapping[str, Any], wanted: set[str]
) -> list[tuple[str, Histogram, int]]:
    first, last = _part(before, "cumulative"), _part(after, "cumulative")
    failed_first, failed_last = _part(before, "failed"), _part(after, "failed")
    counted = []
    for series in sorted(wanted & last.keys()):
        histogram = Histogram.from_json(last[series])
        if series in first:
            histogram = histogram.minus(Histogram.from_json(first[series]))
        failed = _count(failed_last.get(series, 0)) - _count(failed_first.get(series, 0))
        counted.append((series, histogram, _count(failed)))
    return counted


def _lookups(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Layer, int]]:
    first, last = (
        _part(_part(_part(reading, "performance"), "cache"), "by_type")
        for reading in (before, after)
    )
    return [
        (cache_type, layer, _count(_of(last, cache_type, layer) - _of(first, cache_type, layer)))
        for cache_type in sorted(last)
        for layer in Layer
    ]


def _of(by_type: Mapping[str, Any], cache_type: str, layer: Layer) -> int:
    return _count(_part(by_type, cache_type).get(layer, 0))


def _counted(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    first, last = _part(before, "counts"), _part(after, "counts")
    return {
        name: _count(_count(last[name]) - (0 if is_maximum(name) else _count(first.get(name, 0))))
        for name in sorted(last)
        if name.startswith(COUNTED)
    }


def _part(statistics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = statistics.get(name, {})
    if not isinstance(part, dict):
        raise ValueError(f"{name} is no mapping")
    return part


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
