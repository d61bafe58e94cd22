"""Baselines are written whole, read back equal, changed by promotion only, and else refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.baseline import load_runs, promote
from reports.pools import PoolError
from reports.record import RecordError, RunRecord

MakeRecord = Callable[..., RunRecord]


def named(record: RunRecord, scenario: str = "mine") -> RunRecord:
    record.scenario = scenario
    return record


def test_promoted_runs_come_back_equal(make_record: MakeRecord, tmp_path: Path) -> None:
    """One file a scenario and world, with histograms and all."""
    runs = [named(make_record()), named(make_record("live")), named(make_record(), "other")]
    paths = promote(runs, tmp_path / "new")
    names = ["mine-simulated.json.gz", "mine-live.json.gz", "other-simulated.json.gz"]
    assert [path.name for path in paths] == names
    assert load_runs(paths) == runs
    by_name = [runs[1], runs[0], runs[2]]
    assert load_runs([tmp_path / "new"]) == by_name


def test_equal_runs_give_equal_bytes(make_record: MakeRecord, tmp_path: Path) -> None:
    """So that a refreshed baseline shows in a diff only if a number has changed."""
    (one,) = promote([named(make_record())], tmp_path / "a")
    (other,) = promote([named(make_record())], tmp_path / "b")
    assert one.read_bytes() == other.read_bytes()


def test_promotion_replaces_or_adds(make_record: MakeRecord, tmp_path: Path) -> None:
    """A pool of runs grows one by one; the same run does not count twice."""
    first, second = named(make_record("live")), named(make_record("live", first=9))
    promote([first], tmp_path)
    promote([second], tmp_path, add=True)
    assert load_runs([tmp_path]) == [first, second]
    with pytest.raises(PoolError, match="the same run is given twice"):
        promote([second], tmp_path, add=True)
    promote([second], tmp_path)
    assert load_runs([tmp_path]) == [second]


def test_what_is_no_baseline_is_not_promoted(make_record: MakeRecord, tmp_path: Path) -> None:
    """A run that is not valid, or whose name leads out of the folder; nothing is written."""
    broken, stopped = named(make_record()), named(make_record())
    broken.invalid = ["Ctrl-C"]
    stopped.provenance["stopped_itself"] = "errors"
    none = "is no baseline: "
    for run, message in (
        (broken, f"{none}Ctrl-C"), (stopped, f"{none}errors"), (make_record(), "named"),
    ):  # fmt: skip
        with pytest.raises(PoolError, match=message):
            promote([run], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_runs_are_found_by_file_or_folder(make_record: MakeRecord, tmp_path: Path) -> None:
    """A record, its folder, a baseline, a folder of baselines, in the order given."""
    run = named(make_record())
    path = run.save(tmp_path / "run")
    (promoted,) = promote([run], tmp_path / "base")
    assert load_runs([path, path.parent, promoted, promoted.parent]) == [run] * 4


def packed(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "not a usable baseline", id="empty"),
        pytest.param(b"no gzip", "not a whole gzip file", id="other"),
        pytest.param(packed(b"{}")[:-9], "not a whole gzip file", id="cut"),
        pytest.param(packed(b"[]"), "baseline_version is None", id="list"),
        pytest.param(packed(b'{"baseline_version": 2}'), "baseline_version is 2", id="newer"),
        pytest.param(packed(b'{"baseline_version": 1, "runs": []}'), "no run is in it", id="none"),
        pytest.param(
            packed(b'{"baseline_version": 1, "runs": [7]}'), "expected a JSON object", id="number"
        ),
        pytest.param(packed(b"\xff"), "not a usable baseline", id="bytes"),
        pytest.param(packed(b"{" * 9), "not a usable baseline", id="braces"),
    ],
)
def test_a_damaged_baseline_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """Each damage its message, with the file's name."""
    path = tmp_path / "mine-simulated.json.gz"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=message) as caught:
        load_runs([path])
    assert str(path) in str(caught.value)


def test_a_baseline_that_was_edited_is_refused(make_record: MakeRecord, tmp_path: Path) -> None:
    """Its runs carry their digests."""
    (path,) = promote([named(make_record())], tmp_path)
    data = json.loads(gzip.decompress(path.read_bytes()))
    data["runs"][0]["units"][0]["counts"]["cache.part"] -= 1
    path.write_bytes(packed(json.dumps(data).encode()))
    with pytest.raises(RecordError, match="edited after the run"):
        load_runs([path])


def test_nothing_there_is_told(tmp_path: Path) -> None:
    """A missing file, and a folder without runs."""
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        load_runs([tmp_path / "mine-simulated.json.gz"])
    with pytest.raises(RecordError, match=r"neither run\.json nor a baseline"):
        load_runs([tmp_path])


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much more than any baseline takes is refused by its size."""
    monkeypatch.setattr("reports.baseline._LARGEST_BYTES", 1 << 20)
    path = tmp_path / "mine-simulated.json.gz"
    path.write_bytes(packed(b" " * (2 << 20)))
    with pytest.raises(RecordError, match="unpacks to more than 1 MiB"):
        load_runs([path])
