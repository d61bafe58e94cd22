"""Random streams: reproducible, independent of each other, and right in their moments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scenarios.parts import LatencyMs
from scenarios.streams import ONE, fractions, lognormal_us, stream, threshold

ROOT = Path(__file__).parents[2]


def test_same_name_gives_the_same_draws() -> None:
    """Seed, part and index decide the draws."""
    first, second = stream(7, "a", 3).random(5), stream(7, "a", 3).random(5)
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("other", [(8, "a", 3), (7, "b", 3), (7, "a", 4)])
def test_any_change_of_name_gives_other_draws(other: tuple[int, str, int]) -> None:
    """No two names share a stream."""
    assert stream(7, "a", 3).random(5).tolist() != stream(*other).random(5).tolist()


def test_draws_are_pinned() -> None:
    """A change of the derivation changes every published number, so it must be seen."""
    drawn = stream(1, "plan.gap", 0).integers(0, 1000, 4).tolist()
    assert drawn == [563, 174, 972, 114]


def test_negative_index_is_refused() -> None:
    """Blocks count from 0."""
    with pytest.raises(ValueError, match="expected 0 or more"):
        stream(1, "a", -1)


def test_draws_do_not_depend_on_the_hash_seed() -> None:
    """Two processes with different hash seeds draw the same plan."""
    code = (
        "from scenarios.plan import Plan; from scenarios.schema import Scenario;"
        "import hashlib;"
        "c = Plan(Scenario(), 7, 500).chunk(1);"
        "d = [a.tobytes() for a in (c.intended_us, c.route, c.key, c.attributed, c.node)];"
        "print(hashlib.sha256(b''.join(d)).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_lognormal_meets_both_points() -> None:
    """Half of the draws lie below p50 and 99 % below p99, within four standard errors."""
    count = 40_000
    drawn = lognormal_us(stream(3, "law", 0), LatencyMs(p50=15, p99=82), count)
    assert drawn.dtype == np.int64
    assert abs((drawn < 15_000).mean() - 0.5) < 4 * np.sqrt(0.25 / count)
    assert abs((drawn < 82_000).mean() - 0.99) < 4 * np.sqrt(0.99 * 0.01 / count)


def test_equal_points_give_a_constant() -> None:
    """p99 = p50 is a law without spread."""
    drawn = lognormal_us(stream(3, "law", 0), LatencyMs(p50=2, p99=2), 10)
    assert drawn.tolist() == [2000] * 10


def test_thresholds_are_sure_at_both_ends() -> None:
    """Probability 0 never says yes and probability 1 always does."""
    drawn = fractions(stream(1, "mark", 0), 1000)
    assert not (drawn < threshold(0)).any()
    assert (drawn < threshold(1)).all()
    assert threshold(1) == ONE
