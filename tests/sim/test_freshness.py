"""Which committed state an answer tells, and for how long it had been superseded."""

from __future__ import annotations

import json

import pytest

from reference_impl.adapters.sqlite import Command, SqliteEngine
from sim.freshness import Freshness
from tests.sim.small import SECOND

INSERT = (
    "INSERT INTO user_journeys (user_id, conversion_id, event_name, event_timestamp, created_at) "
    "VALUES "
)
WHEN = "2026-01-01T00:00:00.000Z"


class Journal:
    """A database of its own whose insertions are told to the freshness under test."""

    def __init__(self) -> None:
        self.engine = SqliteEngine()
        self.engine.migrate()
        self.found: list[tuple[int, int]] = []
        self.unknown: list[int] = []
        self.freshness = Freshness(
            self.engine, lambda *seen: self.found.append(seen), self.unknown.append
        )

    def insert(self, *conversions: str | None, at_s: int) -> None:
        rows = ", ".join(["(?, ?, ?, ?, ?)"] * len(conversions))
        values = [v for c in conversions for v in ("u", c, "touch", WHEN, WHEN)]
        command = Command(INSERT + rows, tuple(values))
        self.engine.execute([command])
        self.freshness.committed(command, at_s * SECOND)

    def age_s(self, touches: int, asked_s: int, known: str | None = None) -> float | None:
        """How old an answer about "c" is that lists so many touches."""
        self.found.clear()
        body = json.dumps({"conversion_id": "c", "attribution": [{}] * touches})
        self.freshness.answered(body, asked_s * SECOND, known)
        if not self.found:
            return None
        ((asked_us, age_us),) = self.found
        assert asked_us == asked_s * SECOND
        return age_us / SECOND


def test_an_answer_is_as_old_as_the_first_commit_it_does_not_tell() -> None:
    """Two commits at 10 and 20 s: with neither, with one, with both; and before either."""
    journal = Journal()
    journal.insert("c", at_s=10)
    journal.insert("c", at_s=20)
    ages = [journal.age_s(touches, 35) for touches in (0, 1, 2)]
    assert ages == [25, 15, None]
    assert [journal.age_s(0, asked_s) for asked_s in (9, 10, 15)] == [None, 0, 5]


def test_a_commit_that_is_durable_later_supersedes_later() -> None:
    """The third touch was durable before the second: what tells only one is as old as that."""
    journal = Journal()
    journal.insert("c", at_s=10)
    journal.insert("c", at_s=30)
    journal.insert("c", at_s=20)
    assert journal.age_s(1, 25) == 5
    assert journal.age_s(2, 40) == 20


@pytest.mark.parametrize("known", [None, "c"])
def test_only_what_changes_the_conversion_counts(known: str | None) -> None:
    """Touches of others and of visitors do not, several rows in one statement do."""
    journal = Journal()
    journal.insert("other", None, at_s=5)
    assert journal.age_s(0, 9, known) is None
    journal.insert("other", "c", "c", at_s=10)
    assert journal.age_s(1, 12, known) == 2
    assert journal.age_s(0, 12, "other") == 2


@pytest.mark.parametrize("known", [None, "c"])
def test_an_answer_that_leaves_touches_out_is_of_unknown_age(known: str | None) -> None:
    """It may tell any state, however few touches it lists; never stale, and known not to be only
    where nothing was committed before the question."""
    journal = Journal()
    body = json.dumps({"conversion_id": "c", "attribution": [{}], "truncated": True})
    journal.insert("other", at_s=1)
    for asked_s in (5, 15, 25):
        journal.freshness.answered(body, asked_s * SECOND, known)
        journal.insert("c", "c", "c", at_s=asked_s + 5)
    journal.freshness.answered(body, 9 * SECOND, known)
    assert journal.found == []
    assert journal.unknown == [15 * SECOND, 25 * SECOND]
