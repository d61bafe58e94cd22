"""What the server's own statistics add: the part that falls into the window."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest._server import merge_window
from reference_impl.profiling.hdr import Histogram
from reports.record import Unit
from reports.recorder import Recorder, Window


def reading(values: list[int], failed: int = 0, memory: int | None = None) -> dict[str, Any]:
    histogram = Histogram()
    histogram.record_many(values)
    return {
        "cumulative": {"queue.handling": histogram.to_json()},
        "failed": {"queue.handling": failed},
        "memory_max_bytes": memory,
    }


def merged(before: dict[str, Any], after: dict[str, Any]) -> Unit:
    recorder = Recorder(Window(0, 10), cache_types=["attribution"])
    merge_window(recorder, before, after)
    return recorder.finish()[0]


def test_only_what_came_between_the_readings_counts() -> None:
    """Samples and failures of the warm-up are taken off; memory is a maximum of all time."""
    unit = merged(reading([10, 20], 1), reading([10, 20, 900_000, 900_001], 4, 2**25))
    assert unit.series["queue.handling"].count == 2
    assert unit.series["queue.handling"].percentile(0.5) == pytest.approx(900_000, rel=1e-3)
    assert unit.failed["queue.handling"] == 3
    assert unit.memory_max_bytes == 2**25


def test_a_series_that_began_in_the_window_counts_whole() -> None:
    """The first reading does not have it yet."""
    assert merged({}, reading([5, 6, 7])).series["queue.handling"].count == 3


def test_what_the_answers_told_is_not_counted_again() -> None:
    """The server's own view of requests and CPU is left to the evidence of each answer."""
    after = reading([5, 6, 7])
    after["cumulative"]["cpu"] = after["cumulative"]["d1.request"] = after["cumulative"][
        "queue.handling"
    ]
    assert list(merged({}, after).series) == ["queue.handling"]


def test_the_server_stands_in_for_answers_that_told_nothing() -> None:
    """Look-ups by layer, D1 and CPU between the readings, if they are wanted."""
    before, after = reading([]), reading([5, 6, 7])
    for name in ("cpu", "d1.request"):
        after["cumulative"][name] = after["cumulative"]["queue.handling"]
    before["performance"] = {"cache": {"by_type": {"attribution": {"l1": 10, "miss": 1}}}}
    by_type = {"attribution": {"l1": 30, "miss": 3, "kv": 5}, "configuration": {"l1": 2}}
    after["performance"] = {"cache": {"by_type": by_type}}
    recorder = Recorder(Window(0, 10), cache_types=["attribution"])
    found = merge_window(recorder, before, after, ["cpu", "cache", "d1.consumer"])
    (unit,) = recorder.finish()
    assert found == {"cpu", "cache"}
    assert list(unit.series) == ["cpu"]
    lookups = {n: count for n, count in unit.counts.items() if n.startswith("cache.")}
    assert lookups == {
        "cache.attribution.kv": 5,
        "cache.attribution.l1": 20,
        "cache.attribution.miss": 2,
        "cache.configuration.l1": 2,
        "cache.part": 25,
        "cache.total": 27,
    }


@pytest.mark.parametrize("damaged", [{"by_type": 5}, {"by_type": {"a": {"l1": -1}}}, 7])
def test_damaged_look_ups_are_refused(damaged: Any) -> None:
    """As damaged histograms are."""
    recorder = Recorder(Window(0, 10), cache_types=["attribution"])
    with pytest.raises(ValueError, match=r"mapping|count"):
        merge_window(recorder, {}, {"performance": {"cache": damaged}}, ["cache"])


def test_readings_of_two_instances_are_refused() -> None:
    """Each counts for itself: a difference between them would be of nothing."""
    first, second = reading([5]), reading([5, 6])
    first["instance"], second["instance"] = {"id": "a"}, {"id": "b"}
    with pytest.raises(ValueError, match="two instances"):
        merged(first, second)
    second["instance"] = {"id": "a"}
    assert merged(first, second).series["queue.handling"].count == 1


def test_what_is_not_told_stays_unmeasured() -> None:
    """Without histograms and memory, nothing is recorded and nothing fails."""
    unit = merged({}, {"process_rss_bytes": 5})
    assert unit.series == {}
    assert unit.memory_max_bytes is None


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (reading([10, 20, 30]), reading([10]), "not a prefix"),
        (reading([10], 3), reading([10, 20], 2), "-1 is no count"),
        ({}, {"cumulative": {"queue.handling": "text"}}, "not a histogram"),
        ({}, {"cumulative": ["queue.handling"]}, "cumulative is no mapping"),
        ({}, {"memory_max_bytes": "128 MiB"}, "'128 MiB' is no count"),
        ({}, reading([5]) | {"memory_max_bytes": -1}, "-1 is no count"),
        ({}, reading([5]) | {"failed": {"queue.handling": True}}, "True is no count"),
    ],
)
def test_readings_that_do_not_fit_record_nothing(
    before: dict[str, Any], after: dict[str, Any], sentence: str
) -> None:
    """A restart in between or damage is a ValueError, and no half of it is kept."""
    recorder = Recorder(Window(0, 10), cache_types=["attribution"])
    with pytest.raises(ValueError, match=sentence):
        merge_window(recorder, before, after)
    unit = recorder.finish()[0]
    assert (unit.series, unit.memory_max_bytes) == ({}, None)


def test_what_the_world_counted_comes_along() -> None:
    """The difference of its counts; what may fall again, and what is no count of its, does not."""
    before = {"counts": {"kv.writes": 3, "queue.undelivered": 5, "queue.consumers_max": 2}}
    after = {
        "counts": {
            "kv.writes": 10,
            "kv.writes_refused": 2,
            "queue.undelivered": 1,
            "queue.consumers_max": 4,
        }
    }
    told = {"kv.writes": 7, "kv.writes_refused": 2, "queue.consumers_max": 4}
    assert merged(before, after).counts == told
    with pytest.raises(ValueError, match="no count"):
        merged(after, before)
