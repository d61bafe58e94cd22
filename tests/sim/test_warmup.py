"""MSER-5 finds what a run remembers of its start, and leaves a steady one alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.prepare import prepare
from sim.warmup import NoSteadyState, find_warmup_s, mser, with_warmup
from tests.sim.small import scenario

Floats = NDArray[np.float64]


def by_hand(values: Floats, batch: int = 5) -> int:
    """The definition, truncation by truncation."""
    count = len(values) // batch
    means = [float(np.mean(values[i * batch : (i + 1) * batch])) for i in range(count)]
    known = []
    for left_out in range(count // 2 + 1):
        rest = means[left_out:]
        mean = sum(rest) / len(rest)
        known.append(sum((value - mean) ** 2 for value in rest) / len(rest) ** 2)
    return known.index(min(known)) * batch


def noise(seed: int, size: int = 2_000, correlation: float = 0.0) -> Floats:
    draws = np.random.default_rng(seed).normal(size=size)
    for i in range(1, size):
        draws[i] += correlation * draws[i - 1]
    return 100.0 + draws


@pytest.mark.parametrize("seed", range(10))
def test_the_definition(seed: int) -> None:
    """The sums from behind give what every truncation by itself would."""
    values = noise(seed, 203, 0.5)
    values[:20] += 5.0
    found = mser(values)
    assert found is None or found == by_hand(values)


@pytest.mark.parametrize("length", [50, 200, 600])
def test_a_transient_is_left_out(length: int) -> None:
    """A start 10 spreads too high that dies away: all of it that matters goes, little of the rest;
    so it is in a median of 20 runs."""
    decay = 10.0 * np.exp(-5.0 * np.arange(2_000) / length)
    found = [mser(noise(seed) + decay) for seed in range(20)]
    known = [cut for cut in found if cut is not None]
    assert len(known) >= 19
    assert length / 4 <= np.median(known) <= 2 * length


def test_a_steady_series_keeps_nearly_everything() -> None:
    """A median of 40 runs leaves out less than a tenth."""
    found = [mser(noise(seed, correlation=0.5)) for seed in range(40)]
    assert np.median([cut if cut is not None else 2_000 for cut in found]) < 200


def test_scale_and_origin_do_not_matter() -> None:
    """Milliseconds or microseconds, far from 0 or near it."""
    values = noise(4)
    values[:100] += 8.0
    assert mser(values) == mser(1e6 * values + 1e9)


def test_a_trend_is_no_steady_state() -> None:
    """Nor is a series of fewer than four batches."""
    assert mser(np.arange(1_000.0)) is None
    assert mser(np.ones(19)) is None
    assert mser(np.ones(20)) == 0


def test_a_cold_start_needs_a_warm_up() -> None:
    """Forty keys, evenly asked for: after 2 s or so all are in KV, and little more is left out."""
    asked = scenario(
        measure={"start": "cold", "warmup_s": 0.0, "window_s": 20.0},
        workload={
            "attribution": {"rate_per_s": 100.0, "zipf_s": 0.0},
            "tracking": {"rate_per_s": 0.0},
        },
    )
    found_s = find_warmup_s(asked, 1, prepare(asked))
    assert 0.5 < found_s < 8.0
    assert find_warmup_s(asked, 1, prepare(asked)) == found_s


def test_a_run_that_only_grows_has_none() -> None:
    """An overloaded database: the latency grows to the end."""
    asked = scenario(
        measure={"window_s": 10.0},
        workload={"attribution": {"rate_per_s": 0.0}},
        client={"timeout_s": 60.0},
        d1={"cost": {"base_us": 20_000}, "max_queue_wait_s": 600.0},
    )
    with pytest.raises(NoSteadyState, match="latencies of tracking have not settled"):
        find_warmup_s(asked, 1, prepare(asked))


def test_the_window_stays() -> None:
    """Only the warm-up is another; the scenario is a valid one still."""
    asked = scenario(measure={"warmup_s": 1.0, "window_s": 7.0})
    changed = with_warmup(asked, 2.5)
    assert changed.measure.model_dump() == {**asked.measure.model_dump(), "warmup_s": 2.5}
    assert changed.horizon_s == 9.5
