"""D1 on a file: what is answered is on disk, commits are shared, and nobody pays for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
import pytest

from reference_impl.adapters import open_d1, sqlite_file
from reference_impl.adapters.stores import D1Store
from reference_impl.ports import D1Error

T = TypeVar("T")


def on_file(path: Path, work: Callable[[D1Store], Awaitable[T]]) -> T:
    """The result of ``work`` on a database with one table."""

    async def main() -> T:
        d1 = await open_d1(f"sqlite:{path}")
        try:
            await d1.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, a)")
            return await work(d1)
        finally:
            await d1.close()

    return asyncio.run(main())


def seen_by_others(path: Path) -> list[int]:
    """The keys that another process would find."""
    connection = apsw.Connection(str(path))
    try:
        return [row[0] for row in connection.execute("SELECT id FROM t ORDER BY id")]
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d1.db"


def test_a_commit_reaches_the_disk(path: Path) -> None:
    """A write-ahead log that is flushed at every commit: SIGKILL cannot show a missing flush."""

    async def work(d1: D1Store) -> tuple[str, int]:
        return d1.engine.durability()

    assert on_file(path, work) == ("wal", 2)  # https://www.sqlite.org/pragma.html: 2 is FULL


def test_an_answer_comes_after_the_commit(path: Path) -> None:
    """Another connection sees a row in the very step in which its writer is answered."""

    async def work(d1: D1Store) -> None:
        async def write(key: int) -> None:
            await d1.prepare("INSERT INTO t (id) VALUES (?)").bind(key).run()
            assert key in seen_by_others(path)

        await asyncio.gather(*(write(key) for key in range(20)))

    on_file(path, work)


def test_commits_are_shared(path: Path) -> None:
    """A hundred writers at once make a few commits, and each gets its own answer."""

    async def work(d1: D1Store) -> tuple[list[Any], int]:
        commits = 0

        def count(_connection: apsw.Connection, _database: str, _pages: int) -> int:
            nonlocal commits
            commits += 1
            return apsw.SQLITE_OK

        d1.engine._connection.set_wal_hook(count)
        insert = d1.prepare("INSERT INTO t (a) VALUES (?) RETURNING a")
        answers = await asyncio.gather(*(insert.bind(f"{i}").first("a") for i in range(100)))
        return answers, commits

    answers, commits = on_file(path, work)
    assert answers == [f"{i}" for i in range(100)]
    assert commits <= 3


@pytest.mark.parametrize(
    "wrong",
    [
        ["INSERT INTO t (id) VALUES (1)"],
        ["INSERT INTO t (id) VALUES (900)", "SELECT * FROM nowhere"],
        ["INSERT OR ROLLBACK INTO t (id) VALUES (901), (1)"],
        ["INSERT OR FAIL INTO t (id) VALUES (902), (1)"],
        ["PRAGMA defer_foreign_keys = ON", "INSERT INTO c VALUES (77)"],
    ],
)
def test_nobody_pays_for_another(path: Path, wrong: list[str]) -> None:
    """A call that fails, rolls everything back or breaks the commit fails alone and leaves
    nothing, while those that share its commit are done."""

    async def work(d1: D1Store) -> list[Any]:
        await d1.exec("CREATE TABLE c (t REFERENCES t (id))\nINSERT INTO t (id) VALUES (1)")
        good = [d1.prepare("INSERT INTO t (id) VALUES (?)").bind(10 + i).run() for i in range(6)]
        bad = d1.batch([d1.prepare(sql) for sql in wrong])
        return await asyncio.gather(*good[:3], bad, *good[3:], return_exceptions=True)

    outcomes = on_file(path, work)
    assert [isinstance(outcome, D1Error) for outcome in outcomes] == [False] * 3 + [True] + [
        False
    ] * 3
    assert seen_by_others(path) == [1, *range(10, 16)]


def test_a_cancelled_caller_leaves_the_others(path: Path) -> None:
    """Its statement may take effect or not; everybody else is answered."""

    async def work(d1: D1Store) -> list[Any]:
        insert = d1.prepare("INSERT INTO t (a) VALUES (?) RETURNING a")
        tasks = [asyncio.create_task(insert.bind(i).first("a")) for i in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = on_file(path, work)
    assert (first, type(second), third) == (0, asyncio.CancelledError, 2)


def test_a_flood_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what may wait a call fails at once, as D1's do; those before it are done."""
    monkeypatch.setattr(sqlite_file, "MAX_WAITING", 5)

    async def work(d1: D1Store) -> list[Any]:
        statement = d1.prepare("SELECT 1 AS x")
        calls = (statement.first("x") for _ in range(8))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = on_file(path, work)
    assert outcomes[:5] == [1] * 5
    assert all("Too many requests queued" in str(outcome) for outcome in outcomes[5:])


def test_one_file_is_opened_once(path: Path) -> None:
    """Whoever opens it again shares the thread; it closes with its last user."""

    async def work(d1: D1Store) -> int:
        again = await open_d1(f"sqlite:{path.parent}/./{path.name}")
        assert again.engine is d1.engine
        await again.close()
        count: int = await d1.prepare("SELECT count(*) AS n FROM t").first("n")
        return count

    assert on_file(path, work) == 0
    assert on_file(path, work) == 0
