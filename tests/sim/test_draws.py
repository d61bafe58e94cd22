"""Every delay belongs to its seed, part, request number and use, and to nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.parts import LatencyMs
from sim.draws import CHUNK, KEPT_CHUNKS, Delays, Draws
from tests.sim.small import scenario

ROOT = Path(__file__).parents[2]
LAW = LatencyMs(p50=5, p99=25)
numbers = st.integers(0, (KEPT_CHUNKS + 4) * CHUNK)
calls = st.lists(st.tuples(numbers, st.integers(0, 4)), min_size=1, max_size=30)


def drawn(wanted: Sequence[tuple[int, int]], seed: int = 1, part: str = "x") -> list[int]:
    delays = Delays(seed, part, LAW, 2)
    return [delays.us(number, use) for number, use in wanted]


@given(calls, st.randoms(use_true_random=False))
def test_the_order_of_asking_does_not_matter(
    wanted: list[tuple[int, int]], shuffler: np.random.Generator
) -> None:
    """Any order, repetitions included and more chunks than are kept: the same numbers."""
    shuffled = list(wanted)
    shuffler.shuffle(shuffled)
    assert dict(zip(wanted, drawn(wanted), strict=True)) == dict(
        zip(shuffled, drawn(shuffled), strict=True)
    )


def test_each_part_of_the_key_counts() -> None:
    """Another seed, part, number or use, a late use too, is another draw."""
    wanted = [(number, use) for number in (0, 1, CHUNK - 1, CHUNK, 2**40) for use in range(5)]
    values = drawn(wanted) + drawn(wanted, seed=2) + drawn(wanted, part="y")
    assert len(set(values)) == len(values)


def test_chunks_are_forgotten_and_come_back() -> None:
    """Memory is bounded however far a run goes, and an old chunk is drawn again as it was."""
    delays = Delays(1, "x", LAW)
    first = delays.us(7)
    for index in range(1, 3 * KEPT_CHUNKS):
        delays.us(index * CHUNK)
    assert len(delays._chunks) == KEPT_CHUNKS
    assert delays.us(7) == first


@pytest.mark.parametrize("use", [0, 1, 2])
def test_draws_follow_the_law(use: int) -> None:
    """Median and 99 % point of 20,000 draws within 5 standard errors, late uses (2,000) as well."""
    count = 20_000 if use < 2 else 2_000
    delays = Delays(3, "x", LAW, 2)
    values = np.array([delays.us(number, use) for number in range(count)])
    for limit_us, share in ((5_000, 0.5), (25_000, 0.99)):
        error = np.sqrt(share * (1 - share) / count)
        assert abs(float(np.mean(values < limit_us)) - share) < 5 * error


def test_a_law_without_spread_is_a_number() -> None:
    """p50 = p99 gives that number, in whole microseconds."""
    delays = Delays(1, "x", LatencyMs(p50=1.2345, p99=1.2345))
    assert {delays.us(number) for number in range(100)} == {1234}


def test_the_consumer_draws_apart_from_requests() -> None:
    """The same number in both roles meets independent delays."""
    asked = scenario(kv={"write_ms": {"p50": 140, "p99": 500}})
    requests, consumer = Draws(asked, 1), Draws(asked, 1, "consumer.")
    pairs = [(requests.kv_write.us(n), consumer.kv_write.us(n)) for n in range(100)]
    assert all(one != other for one, other in pairs)


def test_a_round_trip_to_d1_is_that_of_its_node() -> None:
    """Another region is farther away; the same request meets the same jitter at either node."""
    nodes = [{"name": "fra", "share": 0.5}, {"name": "iad", "region": "enam", "share": 0.5}]
    draws = Draws(scenario(edge={"nodes": nodes}, d1={"jitter_cv": 0.1}), 1)
    near, far = (
        [draws.d1_rtt[name].us(number) / ms for number in range(100)]
        for name, ms in (("fra", 12), ("iad", 78))
    )
    assert near == pytest.approx(far, rel=1e-4)
    assert float(np.std(np.log(near))) == pytest.approx(0.1, rel=0.25)


SCRIPT = """
from scenarios.loader import load
from sim.draws import Draws
draws = Draws(load("steady/baseline"), 7)
parts = [draws.cpu, draws.kv_write, draws.d1_rtt["fra"], draws.queue_send]
print([part.us(number, use) for part in parts for number in (0, 5000) for use in (0, 9)])
"""


def test_hash_seeds_change_nothing() -> None:
    """Two processes with different hash seeds draw the same."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
