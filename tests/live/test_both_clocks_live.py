"""One model under both clocks: the same requests meet the same layers and the same delays."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.samples import agreement, load
from tests.live.test_cli_live import edgekpi

pytestmark = pytest.mark.live

EARLY_US = 3_000
"""A real sleep is never shortened by more than the debt of the one before it."""

MIN_PAIRS = 500


@pytest.mark.parametrize("scenario", ["smoke/tiny", "steady/three_regions"])
def test_the_same_request_has_the_same_answer(scenario: str, tmp_path: Path) -> None:
    """At least 99 % answered by the same layers, and in half of the pairs hardly ever earlier.

    How much later tells of this machine, not of the model. The second scenario has three regions,
    replicas, sessions and writes.
    """
    moderate = (
        *("--set", "measure={warmup_s: 1, window_s: 8}"),
        *("--set", "workload.attribution.rate_per_s=40"),
        *("--set", "workload.tracking.rate_per_s=40"),
    )
    code, out, err = edgekpi(tmp_path, "run", scenario, *moderate, "--quiet")
    assert code in (0, 20, 21), (out, err)
    (folder,) = (tmp_path / "reports" / "out").glob("*-both")
    simulated, emulated = (
        load(folder / world / "samples.npz") for world in ("simulated", "emulated")
    )
    found = agreement(simulated, emulated)
    assert found["requests"] >= MIN_PAIRS
    assert found["same_layers"] >= 0.99
    for route in found["routes"].values():
        assert route["paired_p50_us"] > -EARLY_US, found
