"""Requests kept one by one, and how far two worlds agree over them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.samples import FAILED, LAYERS_WIDTH, Samples, SampleTable, agreement, load
from reports.table import make_console, print_agreement

Row = tuple[int, str, int, str]


def table(*rows: Row) -> SampleTable:
    samples = Samples()
    for row in rows:
        samples.add(*row)
    return samples.table()


def printed(found: dict[str, Any]) -> str:
    file = io.StringIO()
    print_agreement(found, make_console(file))
    return file.getvalue()


def test_rows_come_back_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Whatever the order in which they ended; times and layers as they were."""
    samples = Samples()
    samples.add(2, "tracking", 81_000, "")
    samples.add(0, "attribution", FAILED, "M")
    samples.add(1, "attribution", 12_345, "K" * 20)
    assert samples.save(tmp_path) == tmp_path / "samples.npz"
    found = load(tmp_path / "samples.npz")
    assert found.number.tolist() == [0, 1, 2]
    assert found.route.tolist() == ["attribution", "attribution", "tracking"]
    assert found.latency_us.tolist() == [FAILED, 12_345, 81_000]
    assert found.layers.tolist() == ["M", "K" * LAYERS_WIDTH, ""]


def test_no_requests_are_a_table_too(tmp_path: Path) -> None:
    """An interrupted run may have none."""
    Samples().save(tmp_path)
    assert len(load(tmp_path / "samples.npz").number) == 0


def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """In one step: there is never half a file under the name."""
    for number in (1, 2):
        samples = Samples()
        samples.add(number, "tracking", 1, "")
        samples.save(tmp_path)
    assert load(tmp_path / "samples.npz").number.tolist() == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npz"]


def damaged(folder: Path) -> dict[str, bytes]:
    Samples().save(folder)
    whole = (folder / "samples.npz").read_bytes()
    array = io.BytesIO()
    np.save(array, np.arange(3))
    other = io.BytesIO()
    np.savez(other, number=np.arange(3))
    uneven = io.BytesIO()
    np.savez(uneven, **table((1, "a", 1, ""))._replace(layers=np.array([], "U1"))._asdict())
    return {
        "empty": b"",
        "text": b"not an archive",
        "truncated": whole[: len(whole) // 2],
        "broken": whole[:60] + b"xxxx" + whole[64:],
        "one array": array.getvalue(),
        "other columns": other.getvalue(),
        "uneven": uneven.getvalue(),
    }


KINDS = ("empty", "text", "truncated", "broken", "one array", "other columns", "uneven")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    """A ValueError that names the file, whatever is wrong with it."""
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged(tmp_path)[kind])
    with pytest.raises(ValueError, match="no readable table of samples") as error:
        load(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    """The same error."""
    with pytest.raises(ValueError, match="no readable table of samples"):
        load(tmp_path / "samples.npz")


def test_agreement_pairs_requests_by_number() -> None:
    """Only those that both worlds answered; differences request by request."""
    simulated = table(
        (0, "attribution", 10_000, "L"),
        (1, "attribution", 20_000, "K"),
        (2, "attribution", 90_000, "M"),
        (3, "tracking", 50_000, ""),
        (4, "tracking", FAILED, ""),
        (6, "tracking", 1, ""),
    )
    emulated = table(
        (0, "attribution", 11_000, "L"),
        (1, "attribution", 23_000, "M"),
        (2, "attribution", 92_000, "M"),
        (3, "tracking", 49_000, ""),
        (4, "tracking", 50_000, ""),
        (5, "tracking", 1, ""),
        (6, "tracking", FAILED, ""),
    )
    found = agreement(simulated, emulated)
    assert (found["requests"], found["same_layers"]) == (4, 0.75)
    assert found["routes"]["attribution"] == {
        "requests": 3,
        "simulated_p50_us": 20_000,
        "emulated_p50_us": 23_000,
        "simulated_p95_us": 90_000,
        "emulated_p95_us": 92_000,
        "paired_p50_us": 2_000,
    }
    assert found["routes"]["tracking"]["paired_p50_us"] == -1_000
    assert printed(found).splitlines() == [
        "Same request, both worlds: 4 pairs, 75.00% answered by the same layers",
        "  attribution: P50 20.0 and 23.0 ms, P95 90.0 and 92.0 ms (simulated and emulated)",
        "  tracking: P50 50.0 and 49.0 ms, P95 50.0 and 49.0 ms (simulated and emulated)",
    ]


def test_nothing_in_common_is_said() -> None:
    """No pairs: no share and no percentile, one sentence in the terminal."""
    found = agreement(table((1, "tracking", 5, "")), table((2, "tracking", 5, "")))
    assert found == {"requests": 0, "same_layers": None, "routes": {}}
    assert printed(found) == "No request was answered in both worlds: nothing to compare.\n"


latencies = st.one_of(st.just(FAILED), st.integers(1, 10**7))
worlds = st.dictionaries(st.integers(0, 60), st.tuples(latencies, st.sampled_from("LKM")))


@given(worlds, worlds)
def test_agreement_against_a_plain_loop(
    left: dict[int, tuple[int, str]], right: dict[int, tuple[int, str]]
) -> None:
    """Counted with dictionaries and sorted lists; the rank of a percentile is ceil(p n)."""
    both = [n for n in left if n in right and left[n][0] != FAILED and right[n][0] != FAILED]
    tables = [
        table(*((n, "tracking", us, layers) for n, (us, layers) in world.items()))
        for world in (left, right)
    ]
    found = agreement(*tables)
    assert found["requests"] == len(both)
    if both:
        assert found["same_layers"] == sum(left[n][1] == right[n][1] for n in both) / len(both)
        row = found["routes"]["tracking"]
        middle = -(-len(both) // 2) - 1
        last = -(-95 * len(both) // 100) - 1
        assert row["simulated_p95_us"] == sorted(left[n][0] for n in both)[last]
        assert row["emulated_p50_us"] == sorted(right[n][0] for n in both)[middle]
        assert row["paired_p50_us"] == sorted(right[n][0] - left[n][0] for n in both)[middle]
