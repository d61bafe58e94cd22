"""When a run ends itself, and when it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtest._guard import Address
from loadtest._watch import Watch, unknown_ids
from tests.loadtest.setups import setup

S = 1_000_000
FAST_US = 50_000


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A watch over a host that is not this machine."""
    monkeypatch.setattr(Address, "is_loopback", property(lambda self: False))
    return Watch(setup("http://127.0.0.1:1", i_own_this_host=["127.0.0.1"], scenario="smoke/tiny"))


def outcomes(
    seconds: int, bad: float, rate: int = 100, start_s: int = 0
) -> Iterator[tuple[int, bool]]:
    """End and badness of evenly spread requests, of which a share is bad."""
    for number in range(seconds * rate):
        yield start_s * S + number * S // rate, int(number * bad) != int((number + 1) * bad)


def halted_at(watch: Watch, ends: Iterator[tuple[int, bool]], slow_us: int | None = None) -> int:
    """The second in which the watch halts; -1 if it does not. Bad is slow, or failed."""
    for end_us, bad in ends:
        slow = bad and slow_us is not None
        failed = "status 500" if bad and slow_us is None else None
        watch.see("attribution", end_us, slow_us if slow and slow_us else FAST_US, failed)
        if watch.halt is not None:
            return end_us // S
    return -1


def test_five_percent_of_errors_over_ten_seconds_end_the_run(foreign: Watch) -> None:
    """Not before the ten seconds are over; the word is the alert's."""
    assert halted_at(foreign, outcomes(60, 0.05)) == 10
    assert foreign.halt is not None
    assert foreign.halt.word == "alert"
    assert "5% or more of the requests failed over 10 s" in foreign.halt.reason


def test_a_few_errors_do_not(foreign: Watch) -> None:
    """4 %, for as long as it takes; nor one of a handful."""
    assert halted_at(foreign, outcomes(60, 0.04)) == -1
    assert halted_at(foreign, outcomes(19, 0.5, rate=1, start_s=100)) == -1


def test_only_the_last_ten_seconds_count(foreign: Watch) -> None:
    """A hundred good seconds do not buy off ten bad ones."""
    assert halted_at(foreign, outcomes(100, 0)) == -1
    assert 105 <= halted_at(foreign, outcomes(20, 0.08, start_s=100)) <= 109


def test_a_p95_of_twice_the_alert_over_thirty_seconds_ends_the_run(foreign: Watch) -> None:
    """The alert of attribution is 1,000 ms; over 5 % above twice that is a P95 above it."""
    assert halted_at(foreign, outcomes(60, 0.06), slow_us=2_000_001) == 30
    assert foreign.halt is not None
    assert "P95 of attribution was over 2,000 ms" in foreign.halt.reason


def test_a_p95_below_that_does_not(foreign: Watch) -> None:
    """Slow, but not so slow; or so slow, but fewer than 5 %."""
    assert halted_at(foreign, outcomes(60, 0.5), slow_us=2_000_000) == -1
    assert halted_at(foreign, outcomes(60, 0.04, start_s=100), slow_us=9_000_000) == -1


def test_own_limits_of_the_scenario_are_the_ones_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice 20 ms here."""
    monkeypatch.setattr(Address, "is_loopback", property(lambda self: False))
    limits = "kpis.limits={attribution_latency_p95: {target: 10, alert: 20}}"
    watch = Watch(setup(i_own_this_host=["127.0.0.1"], overrides=[limits]))
    assert halted_at(watch, outcomes(60, 1), slow_us=40_001) == 30


def test_this_machine_may_break() -> None:
    """Whoever tests at home wants to see all of it."""
    watch = Watch(setup())
    assert halted_at(watch, outcomes(60, 1)) == -1
    assert halted_at(watch, outcomes(60, 1, start_s=100), slow_us=9_000_000) == -1


def test_one_answer_of_the_platform_s_protection_ends_the_run() -> None:
    """On any host; it says nothing of the system, so the run is not valid."""
    watch = Watch(setup())
    watch.see("tracking", 0, FAST_US, "blocked: error 1015")
    assert watch.halt is not None
    assert watch.halt.word == "not valid"
    assert "blocked: error 1015" in watch.halt.reason


def test_unknown_ids_end_the_run_as_wrong_input(foreign: Watch) -> None:
    """Ten of them and over 1 %; they are no errors of the host, and other routes have none."""
    halts = []
    for number in range(10):
        foreign.see("tracking", number * S, FAST_US, None)
        foreign.see("attribution", number * S, FAST_US, "status 404")
        halts.append(foreign.halt)
    *before, last = halts
    assert before == [None] * 9
    assert last is not None
    assert last.word == "wrong input"
    assert "10 of 10 look-ups" in last.reason
    assert "population.csv" in last.reason


def test_one_percent_unknown_is_allowed() -> None:
    """An ID may have gone since the file was written."""
    assert unknown_ids(10, 1000) is None
    assert unknown_ids(11, 1000) is not None
    assert unknown_ids(0, 0) is None


def test_our_own_emulated_server_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failures are a result."""
    monkeypatch.setenv("EDGEKPI_KIND", "emulated")
    watch = Watch(setup())
    for number in range(100):
        watch.see("attribution", number, FAST_US, "status 404")
        watch.see("attribution", number, FAST_US, "blocked: status 429")
    assert watch.halt is None
