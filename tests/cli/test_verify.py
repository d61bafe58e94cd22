"""``edgekpi verify``: what it prints where, and its exit code."""

from __future__ import annotations

import json

import pytest

from sim import verify
from sim.theory import Shares
from tests.cli.ran import Run


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two quickest experiments."""
    quick = tuple(e for e in verify.EXPERIMENTS if e.part == "L1")
    monkeypatch.setattr(verify, "EXPERIMENTS", quick)


@pytest.mark.usefixtures("two")
def test_agreement_is_a_pass(run: Run) -> None:
    """A table of theory and what was found, and a last line with the false-alarm rate."""
    ran = run("verify", "--quiet")
    assert ran.code == 0
    assert (
        ran.last == "0 pass all 2 agree with theory; correct parts fail this for 0.1% of all seeds"
    )
    assert "TTL hit ratio, 4 look-ups a TTL" in ran.out
    assert "0.8000" in ran.out
    assert ran.err == ""


@pytest.mark.usefixtures("two")
def test_json_for_machines(run: Run) -> None:
    """The findings alone on stdout, the table on stderr; the seed decides."""
    ran = run("verify", "--json", "--quiet")
    rows = json.loads(ran.out)
    assert [row["verdict"] for row in rows] == ["agrees", "agrees"]
    assert rows[1]["theory"] == pytest.approx(0.8)
    assert rows[1]["relative_half_width"] <= rows[1]["precision"] == 0.01
    assert "0 pass" in ran.err
    assert json.loads(run("verify", "--json", "--quiet", "--seed", "2").out) != rows


@pytest.mark.usefixtures("two")
def test_a_difference_makes_the_simulator_not_valid(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22, and the law that does not hold."""
    monkeypatch.setattr("sim.theory.ttl_shares", lambda *_: Shares(0.6, 0.0, 0.4))
    ran = run("verify", "--quiet")
    assert ran.code == 22
    assert ran.last.startswith("22 not valid TTL hit ratio, 0.5 look-ups a TTL (L1), ")


@pytest.mark.usefixtures("two")
def test_too_few_arrivals_decide_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """21, and how to go on."""
    few = tuple(e._replace(size=2_000) for e in verify.EXPERIMENTS)
    monkeypatch.setattr(verify, "EXPERIMENTS", few[:1])
    ran = run("verify", "--quiet")
    assert ran.code == 21
    assert ran.last.endswith("known too badly; try --precise")
