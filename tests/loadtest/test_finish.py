"""When a run is not valid: the generator's failures, each with how it looked and what to do."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest._finish import invalidities
from reference_impl.hdr import Histogram


def run(**changed: Any) -> Any:
    """A faultless run of 1,000 requests, but for what is said."""
    lags = changed.pop("lags", [800] * 1000)
    lag = Histogram()
    lag.record_many(lags)
    faultless = {
        "dispatcher": SimpleNamespace(planned=1000, offered=1000),
        "setup": SimpleNamespace(target=SimpleNamespace(url="http://127.0.0.1:1")),
        "lag": lag,
        "recorded": 1000,
        "answered": 1000,
        "out_of_sockets": 0,
        "cpu_share": 0.97,
    }
    return SimpleNamespace(**faultless | changed)


def test_a_faultless_run_is_valid() -> None:
    """One late request in a hundred is none too many; nor is a run that planned nothing."""
    assert invalidities(run()) == []
    assert invalidities(run(lags=[800] * 990 + [60_000] * 10)) == []
    nothing = SimpleNamespace(planned=0, offered=0)
    assert invalidities(run(dispatcher=nothing, lags=[], recorded=0, answered=0)) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"dispatcher": SimpleNamespace(planned=1500, offered=1000)}, "only 1,000 of 1,500"),
        ({"lags": [800] * 989 + [60_000] * 11}, r"60 ms \(limit 50 ms\).* 97%"),
        ({"out_of_sockets": 3}, "3 requests found no free socket"),
        ({"recorded": 999}, "1,000 requests left but 999 were recorded"),
        ({"answered": 0}, "nobody ever answered at http://127.0.0.1:1"),
    ],
)
def test_each_failure_of_the_generator_has_its_sentence(
    changed: dict[str, Any], sentence: str
) -> None:
    """And no other one."""
    (reason,) = invalidities(run(**changed))
    assert re.search(sentence, reason)
