"""Blocks of several generators as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference_impl.messages import Evidence
from reports.merge import merge
from reports.record import Unit
from reports.recorder import Recorder, Window

REQUEST = st.tuples(
    st.sampled_from(["tracking", "attribution"]),
    st.integers(0, 99),
    st.integers(0, 10**6),
    st.sampled_from([None, "timeout"]),
)


def counted(requests: list[tuple[str, int, int, str | None]]) -> list[Unit]:
    recorder = Recorder(Window(0, 100), blocks=4, cache_types=["attribution"])
    for route, at_us, latency_us, failure in requests:
        recorder.request(route, at_us, at_us, at_us + latency_us, failure, Evidence())
    return recorder.finish()


@given(st.lists(REQUEST, max_size=40), st.integers(1, 4))
def test_parts_merge_to_what_one_generator_would_have_counted(
    requests: list[tuple[str, int, int, str | None]], workers: int
) -> None:
    """Series, failures and counts of every block."""
    parts = [counted(requests[index::workers]) for index in range(workers)]
    merged = [merge(blocks) for blocks in zip(*parts, strict=True)]
    assert [unit.to_json() for unit in merged] == [unit.to_json() for unit in counted(requests)]


def test_memory_is_the_largest() -> None:
    """Of those who know it; of none it stays unknown."""
    assert merge([Unit(memory_max_bytes=3), Unit(), Unit(memory_max_bytes=7)]).memory_max_bytes == 7
    assert merge([Unit(), Unit()]).memory_max_bytes is None


def test_the_parts_are_left_alone() -> None:
    """Merging twice gives the same."""
    part = counted([("tracking", 1, 500, None)])[0]
    first, second = merge([part, part]), merge([part, part])
    assert first.series["latency.tracking.intended"].count == 2
    assert first.to_json() == second.to_json()
