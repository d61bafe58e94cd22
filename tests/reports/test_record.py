"""A record is written whole, read back equal, and refused with one clear message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.kpis import DEFAULT_LIMITS
from reports.record import RecordError, RunRecord, load, write_atomically

MakeRecord = Callable[..., RunRecord]


def test_round_trip(make_record: MakeRecord, tmp_path: Path) -> None:
    """What save writes, load reads back equal, by its file or by its folder."""
    record = make_record(samples=100, units=2)
    record.notes, record.invalid = ["a note"], ["Ctrl-C"]
    path = record.save(tmp_path / "new" / "folder")
    assert load(path) == record
    assert load(path.parent) == record


def test_equal_records_give_equal_bytes(make_record: MakeRecord, tmp_path: Path) -> None:
    """Neither time nor order of insertion shows in the file."""
    first = make_record(samples=100, units=2)
    second = make_record(samples=100, units=2)
    second.provenance = dict(reversed(second.provenance.items()))
    paths = [first.save(tmp_path / "a"), second.save(tmp_path / "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_pooled_series_and_counts_are_sums_over_units(make_record: MakeRecord) -> None:
    """Pooling adds samples and failures of all units; an absent series is empty."""
    record = make_record(samples=100, units=3)
    record.units[1].failed["cpu"] = 4
    histogram, failed = record.pooled("cpu")
    assert (histogram.count, failed) == (300, 4)
    assert record.pooled("absent")[0].count == 0
    assert record.count("errors.total") == 600
    assert record.counts("cache.attribution.") == {"kv": 294, "l1": 300, "miss": 6}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message names the file and the reason."""
    with pytest.raises(RecordError, match=r"run\.json: cannot be read: No such file"):
        load(tmp_path / "run.json")


def test_a_truncated_file_is_refused(make_record: MakeRecord, tmp_path: Path) -> None:
    """Half a record is no record."""
    path = make_record(samples=10, units=1).save(tmp_path)
    path.write_text(path.read_text()[:-200])
    with pytest.raises(RecordError, match="not a whole JSON document"):
        load(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A binary file under the name of a record gives a message, not a traceback."""
    path = tmp_path / "run.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not a usable run record"):
        load(path)


def _unit(data: dict[str, Any]) -> dict[str, Any]:
    unit: dict[str, Any] = data["units"][0]
    return unit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.update(schema_version=1), "schema_version is 1, this program reads 2"),
        (lambda d: d.update(kind="dreamt"), "kind is 'dreamt'"),
        (lambda d: d.pop("kind"), "kind is missing"),
        (lambda d: d.update(seed=True), "seed is missing or not of type int"),
        (lambda d: d.pop("units"), "units is missing"),
        (lambda d: d.update(units=[7]), "expected a JSON object"),
        (lambda d: d.update(required=["speed"]), "'speed', which is no KPI"),
        (lambda d: d.update(notes=[1]), "notes holds something else than text"),
        (lambda d: d.update(limits={"d1_query_p95": [1]}), "limits of 'd1_query_p95'"),
        (lambda d: d.update(limits={"speed": [1, 2]}), "limits of 'speed'"),
        (lambda d: d["window"].pop("end_us"), "end_us is missing"),
        (lambda d: _unit(d)["counts"].update({"requests.tracking": 11}), "11 requests of tracking"),
        (lambda d: _unit(d)["counts"].update({"cache.part": 99}), "greater than cache.total"),
        (lambda d: _unit(d)["counts"].update({"cache.part": -1}), "something else than counts"),
        (lambda d: _unit(d)["failed"].update(cpu=1.5), "failed holds something else"),
        (lambda d: _unit(d)["series"]["cpu"].update(count=11), "count is 11"),
        (lambda d: _unit(d).update(memory_max_bytes="much"), "memory_max_bytes"),
        (lambda d: d["window"].update(end_us=0), "the window ends before it starts"),
        (lambda d: d["scenario_settings"].update(seed=2), "not that of scenario_settings"),
        (lambda d: d.pop("digest"), "digest is missing"),
        (lambda d: d.update(digest="0" * 64), "edited after the run"),
        (lambda d: d["provenance"].update(sqlite="3.0"), "edited after the run"),
        (lambda d: d["limits"].update(d1_query_p95=[500, 1000]), "edited after the run"),
        (lambda d: _unit(d)["counts"].update({"cache.part": 17}), "edited after the run"),
        (lambda d: d.update(more=1), "edited after the run"),
    ],
)
def test_inconsistent_records_are_refused(
    make_record: MakeRecord,
    tmp_path: Path,
    damage: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    """Each damage gives its own message, with the file's name."""
    path = make_record(samples=10, units=1).save(tmp_path)
    data = json.loads(path.read_text())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "NaN", "7", '{"schema_version": 2, "x": Infinity}'])
def test_json_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    """Valid JSON, or nearly, but not a record."""
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RecordError, match="not a usable run record"):
        load(path)


def test_missing_limits_are_the_defaults(make_record: MakeRecord, tmp_path: Path) -> None:
    """A record may name only the limits that differ."""
    record = make_record(samples=10, units=1)
    record.limits = {"d1_query_p95": (10, 20)}
    limits = load(record.save(tmp_path)).limits
    assert limits == {**DEFAULT_LIMITS, "d1_query_p95": (10, 20)}


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    """Text that cannot be encoded breaks off the write; what was there stays."""
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
