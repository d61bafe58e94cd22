"""The run record: everything a verdict needs, in one file that can be judged again later.

Histograms are kept, not percentiles, so another percentile can be asked of an old run. A
simulated record holds no wall-clock time: the same scenario and seed give the same bytes.

A record ends with a digest of everything else in it, so a file that was edited after its run is
refused. It is no signature: whoever means to deceive can compute it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

from reference_impl.profiling.hdr import Histogram
from reports.kpis import BY_NAME, DEFAULT_LIMITS

SCHEMA_VERSION = 2
FILE_NAME = "run.json"
ROUTES = ("tracking", "attribution")

Kind = Literal["simulated", "emulated", "live"]
ENDINGS = ("wrong_input", "stopped_itself")
"""Entries of the provenance that say why a run ended itself."""

T = TypeVar("T")


class RecordError(Exception):
    """A run record that cannot be used; the message names the file and the reason."""


class Window(NamedTuple):
    """The measured part of a run, on its own clock: 0 is the start of the plan.

    The warm-up lies before ``start_us``; ``end_us`` is exclusive.
    """

    start_us: int
    end_us: int


@dataclass(slots=True)
class Unit:
    """What one replication (simulated) or one block of the window (emulated, live) counted.

    ``series`` holds the samples that have a value, ``failed`` how many more of a series have none
    because they failed: those count as slower than any limit. ``counts`` has ``cache.part`` and
    ``cache.total`` (look-ups of the KPI's types), ``cache.<type>.<layer>`` with ``.negative`` for
    the "not there" and ``.stale`` for the stale among them, ``requests.<route>``, ``errors.part``
    (failed requests) and ``errors.total`` (all), ``failure.<reason>``, ``city.<code>`` (answers by
    the data centre that gave them), ``staleness.unknown`` (answers of unknown age) and ``memory``
    (how often it was reported).
    """

    series: dict[str, Histogram] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    memory_max_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "series": {name: histogram.to_json() for name, histogram in self.series.items()},
            "failed": self.failed,
            "counts": self.counts,
            "memory_max_bytes": self.memory_max_bytes,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Unit:
        """Raises ``ValueError`` if a part is missing, of a wrong type, or contradicts another."""
        series = _part(data, "series", dict)
        memory = data.get("memory_max_bytes")
        unit = cls(
            {name: Histogram.from_json(histogram) for name, histogram in series.items()},
            _whole_numbers(data, "failed"),
            _whole_numbers(data, "counts"),
            None if memory is None else _part(data, "memory_max_bytes", int),
        )
        unit.check()
        return unit

    def check(self) -> None:
        """Raise ``ValueError`` unless counted requests and recorded samples agree."""
        for route in ROUTES:
            series = f"latency.{route}.intended"
            histogram = self.series.get(series)
            recorded = (histogram.count if histogram else 0) + self.failed.get(series, 0)
            requests = self.counts.get(f"requests.{route}", 0)
            if recorded != requests:
                raise ValueError(f"{requests} requests of {route}, but {recorded} samples")
        for ratio in ("cache", "errors"):
            if self.counts.get(f"{ratio}.part", 0) > self.counts.get(f"{ratio}.total", 0):
                raise ValueError(f"{ratio}.part is greater than {ratio}.total")


@dataclass(slots=True)
class RunRecord:
    """One run, simulated, emulated (our server on this machine) or live (a named host).

    ``scenario_settings`` is the effective scenario, overrides included; ``invalid`` lists why the
    generator failed (empty for a valid run); ``required`` the KPIs that count; ``limits`` the
    effective (target, alert) by KPI name, in the KPI's unit; ``notes`` what a reader should know.
    """

    kind: Kind
    scenario: str
    scenario_settings: dict[str, Any]
    scenario_sha256: str
    seed: int
    window: Window
    units: list[Unit]
    required: list[str]
    cache_types: list[str]
    limits: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    provenance: dict[str, str | int | float] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    @property
    def wrong_input(self) -> str:
        """Why the run should not have been made, as it found while it ran; empty if it should."""
        return str(self.provenance.get("wrong_input", ""))

    @property
    def stopped_itself(self) -> str:
        """Why the run ended before its time, of its own accord; empty if it did not."""
        return str(self.provenance.get("stopped_itself", ""))

    @property
    def unit_word(self) -> str:
        """What its units are, in the plural."""
        return "replications" if self.kind == "simulated" else "blocks"

    @property
    def seeds(self) -> range:
        """The seed of each unit of a simulated record: replications count up from the first."""
        return range(self.seed, self.seed + len(self.units))

    def pooled(self, series: str) -> tuple[Histogram, int]:
        """All units' samples of a series in one histogram, and how many more failed."""
        whole = Histogram()
        for unit in self.units:
            if series in unit.series:
                whole.add(unit.series[series])
        return whole, sum(unit.failed.get(series, 0) for unit in self.units)

    def count(self, name: str) -> int:
        """The sum of one count over all units; of a maximum the largest."""
        values = (unit.counts.get(name, 0) for unit in self.units)
        return max(values, default=0) if is_maximum(name) else sum(values)

    def counts(self, prefix: str) -> dict[str, int]:
        """The counts whose names start with ``prefix``, without it, summed, in order of name."""
        names = sorted({name for unit in self.units for name in unit.counts})
        return {n.removeprefix(prefix): self.count(n) for n in names if n.startswith(prefix)}

    def to_json(self) -> dict[str, Any]:
        """Plain values, all of them, and their digest; :meth:`from_json` reads them back."""
        content = self._content()
        return {**content, "digest": sha256(content)}

    def _content(self) -> dict[str, Any]:
        return {
            "schema_version": self.schema_version,
            "kind": self.kind,
            "scenario": self.scenario,
            "scenario_settings": self.scenario_settings,
            "scenario_sha256": self.scenario_sha256,
            "seed": self.seed,
            "window": {"start_us": self.window.start_us, "end_us": self.window.end_us},
            "units": [unit.to_json() for unit in self.units],
            "required": self.required,
            "cache_types": self.cache_types,
            "limits": {name: list(limits) for name, limits in self.limits.items()},
            "provenance": self.provenance,
            "invalid": self.invalid,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunRecord:
        """Raises ``ValueError`` with the first thing that is missing, wrong or inconsistent."""
        version = _mapping(data).get("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {version!r}, this program reads {SCHEMA_VERSION}")
        kind = _part(data, "kind", str)
        if kind not in get_args(Kind):
            raise ValueError(f"kind is {kind!r}, expected one of {', '.join(get_args(Kind))}")
        window = _part(data, "window", dict)
        record = cls(
            kind=cast(Kind, kind),
            scenario=_part(data, "scenario", str),
            scenario_settings=_part(data, "scenario_settings", dict),
            scenario_sha256=_part(data, "scenario_sha256", str),
            seed=_part(data, "seed", int),
            window=Window(_part(window, "start_us", int), _part(window, "end_us", int)),
            units=[Unit.from_json(unit) for unit in _part(data, "units", list)],
            required=_known(_texts(data, "required")),
            cache_types=_texts(data, "cache_types"),
            limits=_limits(_part(data, "limits", dict)),
            provenance=_part(data, "provenance", dict),
            invalid=_texts(data, "invalid"),
            notes=_texts(data, "notes"),
        )
        record._check(data)
        return record

    def _check(self, data: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` unless the parts agree, and ``data`` is what a run has written."""
        if not 0 <= self.window.start_us < self.window.end_us:
            raise ValueError("the window ends before it starts")
        if self.scenario_sha256 != sha256(self.scenario_settings):
            raise ValueError("scenario_sha256 is not that of scenario_settings")
        content = {name: value for name, value in data.items() if name != "digest"}
        if _part(data, "digest", str) != sha256(content):
            raise ValueError("its digest is not that of its content: it was edited after the run")

    def save(self, folder: Path | str) -> Path:
        """Write ``run.json`` into ``folder`` (made if need be) whole or not at all; its path.

        Equal records give equal bytes. Raises ``OSError`` if the folder cannot be written.
        """
        text = json.dumps(self.to_json(), sort_keys=True, indent=1, allow_nan=False) + "\n"
        path = Path(folder) / FILE_NAME
        write_atomically(path, text)
        return path


def is_maximum(count: str) -> bool:
    """Whether a count, by its name, is the most of something at once, and not how often it was."""
    return count.endswith("_max")


def load(path: Path | str) -> RunRecord:
    """Read a record from its file, or from the folder it lies in.

    Raises :class:`RecordError` if it is missing, truncated, of another version, or inconsistent.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        return RunRecord.from_json(decode(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"{path}: not a whole JSON document: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a usable run record: {error}") from error


def decode(text: str) -> Any:
    """Strict JSON: neither NaN nor infinity. Raises ``ValueError``."""
    return json.loads(text, parse_constant=_refuse_constant)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never half.

    Text is written as UTF-8, and the folder is made if need be. Raises ``OSError`` if that is
    impossible.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private, a report is to be shared
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256(data: Any) -> str:
    """The SHA-256 of plain values: equal values have equal digests, in whatever order."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object")
    return data


def _part(data: Any, name: str, kind: type[T]) -> T:
    """``data[name]`` if it is there and of that type (true and false are no integers)."""
    value = _mapping(data).get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} is missing or not of type {kind.__name__}")
    return value


def _texts(data: Mapping[str, Any], name: str) -> list[str]:
    values = _part(data, name, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} holds something else than text")
    return values


def _known(names: list[str]) -> list[str]:
    for name in names:
        if name not in BY_NAME:
            raise ValueError(f"required names {name!r}, which is no KPI")
    return names


def _whole_numbers(data: Mapping[str, Any], name: str) -> dict[str, int]:
    values = _part(data, name, dict)
    if not all(type(value) is int and value >= 0 for value in values.values()):
        raise ValueError(f"{name} holds something else than counts")
    return values


def _limits(data: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    limits = dict(DEFAULT_LIMITS)
    for name, pair in data.items():
        numbers = isinstance(pair, list) and all(type(limit) in (int, float) for limit in pair)
        if name not in BY_NAME or not numbers or len(pair) != 2:
            raise ValueError(f"limits of {name!r}: expected a KPI's name with [target, alert]")
        limits[name] = (pair[0], pair[1])
    return limits
