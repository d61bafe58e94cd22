"""The query cache against its bounds, its minute, and the writes that must reach it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.d1.query_cache import (
    LIFE_US,
    QueryCache,
    Question,
    Row,
    is_question,
    matches,
    tables_in,
)

ANY = frozenset[str]()


class Clock:
    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> QueryCache:
    return QueryCache(clock, max_entries=3, max_bytes=10_000)


def ask(
    *parts: str, sql: str = "SELECT ?", values: tuple[Any, ...] = (1,), **reads: str
) -> Question:
    """A question by its name; ``table="user_id=u"`` reads those rows, ``table=""`` any row."""
    keys = {table: frozenset([key] if key else []) for table, key in reads.items()}
    return Question(parts or ("q",), sql, values, keys)


def keep(cache: QueryCache, question: Question, rows: list[Row] | None = None) -> None:
    cache.keep(cache.begin(question), [{"v": 1}] if rows is None else rows)


def test_d12_a_caller_cannot_edit_what_is_kept(cache: QueryCache) -> None:
    """Neither by the rows it gave nor by those it got."""
    rows = [{"v": 1}]
    keep(cache, ask(), rows)
    rows[0]["v"] = 2
    rows.clear()
    first = cache.get(ask())
    assert first == [{"v": 1}]
    first[0]["v"] = 3
    first.clear()
    assert cache.get(ask()) == [{"v": 1}]


different = [
    ask("a:b", "c"),
    ask("a", "b:c"),
    ask("a", "b", "c"),
    ask("q", sql="SELECT ?, 1"),
    ask("q", values=(1,)),
    ask("q", values=("1",)),
    ask("q", values=(1.0,)),
    ask("q", values=(True,)),
    ask("q", values=(b"1",)),
    ask("q", values=(None,)),
    ask("q", values=(1, 1)),
    ask("q", values=(0.0,)),
    ask("q", values=(-0.0,)),
    ask("q", values=("', '",)),
    ask("q", values=("", "")),
]


def test_d02_d17_no_two_questions_share_an_answer(clock: Clock) -> None:
    """Same name and other values, same values and other types, colons at other places."""
    cache = QueryCache(clock)
    for number, question in enumerate(different):
        keep(cache, question, [{"v": number}])
    assert [cache.get(question) for question in different] == [[{"v": i}] for i in range(15)]


def test_d03_it_lives_a_minute_and_is_swept(cache: QueryCache, clock: Clock) -> None:
    """Served up to, not at, 60 s; what has expired leaves memory with the next answer kept."""
    keep(cache, ask("old"))
    clock.now_us = LIFE_US - 1
    assert cache.get(ask("old")) == [{"v": 1}]
    clock.now_us = LIFE_US
    assert cache.get(ask("old")) is None
    keep(cache, ask("new"))
    assert len(cache) == 1
    assert (cache.hits, cache.misses) == (1, 1)


def test_d03_it_is_bounded(cache: QueryCache, clock: Clock) -> None:
    """In entries and in bytes: the oldest leaves first, and what is too large is not kept."""
    for number in range(5):
        keep(cache, ask(str(number)))
    assert [cache.get(ask(str(number))) is None for number in range(5)] == [True] * 2 + [False] * 3
    keep(cache, ask("large"), [{"v": "x" * 6_000}])
    keep(cache, ask("larger"), [{"v": "x" * 7_000}])
    assert (cache.get(ask("large")), len(cache)) == (None, 1)
    keep(cache, ask("too large"), [{"v": "x" * 20_000}])
    assert cache.get(ask("too large")) is None
    assert cache.get(ask("larger")) is not None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 4000)), max_size=40))
def test_d03_its_size_is_the_sum_of_what_it_holds(kept: list[tuple[str, int]]) -> None:
    """After any additions; and emptied it holds nothing, in the index of readers neither."""
    cache = QueryCache(Clock(), max_entries=3, max_bytes=10_000)
    for name, length in kept:
        keep(cache, ask(name, user_journeys=""), [{"v": "x" * length}])
        assert len(cache) <= 3
        assert cache.size_bytes <= 10_000
    cache.invalidate("*")
    assert (len(cache), cache.size_bytes, cache._readers) == (0, 0, {})


def test_d04_a_write_reaches_what_rests_on_it(clock: Clock) -> None:
    """The rows, the readers of any row, and who reads what is not known; nothing else."""
    questions = {
        "its row": ask("1", user_journeys="user_id=a"),
        "another row": ask("2", user_journeys="user_id=b"),
        "any row": ask("3", user_journeys=""),
        "another table": ask("4", channel_performance=""),
        "two tables": ask("5", channel_performance="x=y", user_journeys="user_id=a"),
        "unknown": ask("6"),
    }

    def left(*writes: dict[str, frozenset[str]]) -> set[str]:
        cache = QueryCache(clock)
        for question in questions.values():
            keep(cache, question)
        for write in writes:
            cache.written(write)
        return {name for name, question in questions.items() if cache.get(question) is not None}

    assert left({"user_journeys": frozenset(["user_id=a"])}) == {"another row", "another table"}
    assert left({"user_journeys": ANY}) == {"another table"}
    assert left({"channel_performance": ANY}) == {"its row", "another row", "any row"}
    assert left({}) == set()
    assert left() == set(questions)


@pytest.mark.parametrize("by", ["write", "pattern", "failure"])
def test_d04_a_read_that_was_overtaken_is_not_kept(cache: QueryCache, by: str) -> None:
    """What it brings may be older than the write; the next read is kept again."""
    question = ask("q", user_journeys="user_id=a")
    reading = cache.begin(question)
    if by == "write":
        cache.written({"user_journeys": frozenset(["user_id=a"])})
    elif by == "pattern":
        assert cache.invalidate("q") == 0
    else:
        cache.forget(reading)
        cache.forget(reading)
    cache.keep(reading, [{"v": "old"}])
    assert cache.get(question) is None
    keep(cache, question)
    assert cache.get(question) == [{"v": 1}]


def test_two_reads_of_one_question(cache: QueryCache) -> None:
    """The later answer stands, and a write still reaches it."""
    first, second = (cache.begin(ask(user_journeys="")) for _ in range(2))
    cache.keep(second, [{"v": 2}])
    cache.keep(first, [{"v": 1}])
    assert (cache.get(ask(user_journeys="")), len(cache)) == ([{"v": 1}], 1)
    cache.written({"user_journeys": ANY})
    assert (cache.get(ask(user_journeys="")), cache.size_bytes) == (None, 0)


def test_d07_only_the_star_is_special(clock: Clock) -> None:
    """Brackets, dots and the like stand for themselves, in the plain form and as a cache key."""
    names = ["a.b", "axb", "a(b", "a[b]", "a+b", "a\\db", "a?b", "a%b", "a*b", "a\nb", "ab"]

    def dropped(pattern: str) -> list[str]:
        cache = QueryCache(clock)
        for name in names:
            keep(cache, ask("j", name))
        count = cache.invalidate(pattern)
        gone = [name for name in names if cache.get(ask("j", name)) is None]
        assert count == len(gone)
        return gone

    for name in names:
        expected = [each for each in names if each != "a[b]"] if name == "a*b" else [name]
        assert dropped(f"j:{name}") == expected
    assert dropped("j:a%28b") == ["a(b"]
    assert dropped("j:*") == dropped("*") == dropped("*:*b*") == names
    assert dropped("j") == dropped("") == dropped("*j") == dropped("J:ab") == []


@given(st.text("ab*:.", max_size=8), st.text("ab*:.", max_size=8))
def test_d07_patterns_fit_as_an_expression_would(name: str, pattern: str) -> None:
    """Against the regular expression in which everything but the star is quoted."""
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(name, pattern) == bool(re.fullmatch(expression, name, re.DOTALL))


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("  values (1) ; ", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", True),
        ("select replace('a', 'b', 'c')", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", False),
        ("SELECT 1; DELETE FROM user_journeys", False),
        ("-- select\nDELETE FROM user_journeys", False),
        ("selection", False),
        ("PRAGMA table_list", False),
        ("", False),
    ],
)
def test_what_surely_only_reads(sql: str, reads: bool) -> None:
    """Everything else is taken for a write."""
    assert is_question(sql) == reads


def test_the_tables_of_a_statement() -> None:
    """Quoted or in capitals; a longer name is another table."""
    sql = 'SELECT * FROM "User_Journeys" JOIN channel_performance_old'
    assert tables_in(sql) == {"user_journeys": ANY}
