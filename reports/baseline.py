"""Baselines: runs that later ones are compared with, kept in small files beside the code.

A baseline is the whole records of its runs, histograms included, so another percentile or another
limit can be asked of it later. What it was made with stands in the records. It changes only when
somebody promotes a run.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reports.pools import Pool, PoolError, pools_of
from reports.record import FILE_NAME, RecordError, RunRecord, decode, load, write_atomically

BASELINE_VERSION = 1
FOLDER = Path("reports", "baselines")
SUFFIX = ".json.gz"

_LARGEST_BYTES = 1 << 28
_SAFE_NAME = re.compile(r"[\w.-]+")


def load_runs(paths: Iterable[Path | str]) -> list[RunRecord]:
    """All runs in these places: a record, its folder, a baseline, or a folder of baselines.

    Raises :class:`RecordError` naming the place that holds nothing usable.
    """
    return [record for path in paths for record in _runs_in(Path(path))]


def promote(records: Sequence[RunRecord], folder: Path, *, add: bool = False) -> list[Path]:
    """Make these runs the baseline of their scenario and world, or ``add`` them to it.

    Returns the files written, one a scenario and world. Raises :class:`PoolError` if a run is not
    valid or does not belong with the others, :class:`RecordError` if the old file is not readable.
    """
    written = []
    for pool in pools_of(records):
        if pool.no_baseline:
            raise PoolError(
                f"{pool.name}: a run that is not valid, or not whole, is no baseline: "
                f"{pool.no_baseline[0]}"
            )
        if not _SAFE_NAME.fullmatch(pool.scenario):
            raise PoolError(f"{pool.name}: a file cannot be named after this scenario")
        path = folder / f"{pool.scenario}-{pool.kind}{SUFFIX}"
        together = [*(_read(path) if add and path.exists() else []), *pool.records]
        _write(path, Pool(together).records)
        written.append(path)
    return written


def _runs_in(path: Path) -> list[RunRecord]:
    if not path.is_dir():
        return _read(path) if path.name.endswith(SUFFIX) else [load(path)]
    if (path / FILE_NAME).exists():
        return [load(path)]
    files = sorted(path.glob(f"*{SUFFIX}"))
    if not files:
        raise RecordError(f"{path}: neither {FILE_NAME} nor a baseline (*{SUFFIX}) is in it")
    return [record for file in files for record in _read(file)]


def _write(path: Path, records: Sequence[RunRecord]) -> None:
    """Equal runs give equal bytes."""
    data = {"baseline_version": BASELINE_VERSION, "runs": [run.to_json() for run in records]}
    text = json.dumps(data, sort_keys=True, allow_nan=False)
    write_atomically(path, gzip.compress(text.encode(), mtime=0))


def _read(path: Path) -> list[RunRecord]:
    try:
        with gzip.open(path) as file:
            raw = file.read(_LARGEST_BYTES + 1)
        if len(raw) > _LARGEST_BYTES:
            raise ValueError(f"it unpacks to more than {_LARGEST_BYTES >> 20} MiB")
        return _runs_of(decode(raw.decode()))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a usable baseline: {error}") from error


def _runs_of(data: Any) -> list[RunRecord]:
    version = data.get("baseline_version") if isinstance(data, dict) else None
    if version != BASELINE_VERSION:
        raise ValueError(f"baseline_version is {version!r}, this program reads {BASELINE_VERSION}")
    runs = data.get("runs")
    if not isinstance(runs, list) or not runs:
        raise ValueError("no run is in it")
    return [RunRecord.from_json(run) for run in runs]
