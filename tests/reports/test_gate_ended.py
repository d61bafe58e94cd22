"""The gate over runs that say nothing of the system, or that ended themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reports.gate import Rules, gate
from reports.record import RunRecord

MakeRecord = Callable[..., RunRecord]


def test_a_run_that_is_not_valid_has_no_verdict(make_record: MakeRecord) -> None:
    """Whichever side it is on."""
    broken = make_record()
    broken.invalid = ["load not offered"]
    for new, old, whose in ((broken, make_record(), ""), (make_record(), broken, "baseline: ")):
        verdict = gate([new], [old], Rules())
        assert (verdict.word, verdict.code) == ("not valid", 22)
        assert f"22 not valid {whose}load not offered" in verdict.last_line


LIVE_RUNS = 2


@pytest.mark.parametrize(
    ("entry", "word", "code"), [("wrong_input", "wrong input", 23), ("stopped_itself", "alert", 20)]
)
@pytest.mark.parametrize("which", range(LIVE_RUNS))
def test_one_of_several_runs_that_ended_itself_counts(
    make_record: MakeRecord, entry: str, word: str, code: int, which: int
) -> None:
    """Whichever it was, though every KPI of all of them meets its target."""
    runs = [make_record(kind="live") for _ in range(LIVE_RUNS)]
    for number, run in enumerate(runs):
        run.provenance["run_id"] = str(number)
    assert gate(runs, None, Rules()).word == "pass"
    runs[which].provenance[entry] = "to spare the host"
    verdict = gate(runs, None, Rules())
    assert (verdict.word, verdict.code) == (word, code)
    assert f"{code} {word} to spare the host" in verdict.last_line
    assert verdict.to_json()["pools"][0]["limits"] == word


@pytest.mark.parametrize("entry", ["wrong_input", "stopped_itself"])
def test_a_baseline_that_ended_itself_is_none(make_record: MakeRecord, entry: str) -> None:
    """What is not whole is not to be compared with."""
    new, old = make_record(), make_record()
    old.provenance[entry] = "to spare the host"
    verdict = gate([new], [old], Rules())
    assert verdict.last_line.startswith("22 not valid baseline: to spare the host")
