"""What no answer told, so that the server's statistics may stand in."""

from __future__ import annotations

from loadtest._untold import note, untold, without_lookups
from reference_impl.profiling.hdr import Histogram
from reports.record import Unit


def test_one_answer_that_tells_is_enough() -> None:
    """Then the others are unknown, and nothing stands in for them."""
    silent = Unit(counts={"cache.total": 5, "cache.unknown": 5})
    assert untold([silent]) == {"cache", "cpu", "d1.request"}
    telling = Unit({"cpu": Histogram()}, {}, {"cache.total": 5, "cache.unknown": 4})
    assert untold([silent, telling]) == {"d1.request"}


def test_look_ups_are_taken_out_and_nothing_else() -> None:
    """The latencies beside them stay."""
    counts = {
        "cache.total": 5,
        "cache.unknown": 5,
        "cache.attribution.unknown": 5,
        "errors.total": 5,
    }
    assert without_lookups(Unit(counts=counts)).counts == {"errors.total": 5}
    assert counts["cache.total"] == 5


def test_a_reader_is_told_what_they_are_about() -> None:
    """Of all traffic, not only of ours."""
    assert note({"cache", "cpu"}).startswith("look-ups, CPU times: no answer told them")
