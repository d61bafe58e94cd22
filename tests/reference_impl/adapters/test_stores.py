"""Stores by URL: which is which, and what is said of a URL that is none or of no use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reference_impl.adapters import open_d1, open_kv, open_queue, stores
from reference_impl.adapters.asyncio_runtime import AsyncioRuntime
from reference_impl.adapters.stores import BadStoreUrl, StoreUnreachable, open_stores

SECRET = "hunter2"
Open = Callable[[str], Awaitable[Any]]


@pytest.mark.parametrize(
    ("open_store", "url"),
    [
        (open_kv, ""),
        (open_kv, "memory"),
        (open_kv, "sqlite:x.db"),
        (open_kv, f"http://user:{SECRET}@host/"),
        (open_kv, f"redis://user:{SECRET}@host:no-port/0"),
        (open_kv, f"redis://user:{SECRET}@[host/0"),
        (open_kv, f"redis://:{SECRET}@host/0?password={SECRET}"),
        (open_kv, "redis://host/0?write_spacing_s=often"),
        (open_d1, "memory:"),
        (open_d1, "sqlite:"),
        (open_d1, "sqlite::nowhere:"),
        (open_d1, f"postgres://user:{SECRET}@host/db"),
        (open_queue, f"redis://user:{SECRET}@host/0"),
    ],
)
def test_a_url_that_is_none(open_store: Open, url: str) -> None:
    """It is refused before anything is opened, and the message keeps secrets."""
    with pytest.raises(BadStoreUrl) as error:
        asyncio.run(open_store(url))  # type: ignore[arg-type]
    assert SECRET not in str(error.value)


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    """Nobody listens, no such folder, no database: what is wrong, and no secret."""
    (tmp_path / "text").write_text("this is no database, by far" * 100)
    wrong: list[tuple[Open, str, str]] = [
        (open_kv, f"redis://user:{SECRET}@127.0.0.1:1/0", "127.0.0.1:1"),
        (open_kv, f"unix://{tmp_path}/no.sock", "no.sock"),
        (open_d1, f"sqlite:{tmp_path}/none/d1.db", "unable to open"),
        (open_d1, f"sqlite:{tmp_path}", "unable to open"),
        (open_queue, f"sqlite:{tmp_path}/text", "not a database"),
    ]
    for open_store, url, reason in wrong:
        with pytest.raises(StoreUnreachable, match=reason) as error:
            asyncio.run(open_store(url))  # type: ignore[arg-type]
        assert SECRET not in str(error.value)


def test_the_queue_lies_beside_the_database(tmp_path: Path) -> None:
    """Unless it has a URL of its own; one that cannot be opened leaves nothing open."""
    url = f"sqlite:{tmp_path / 'd1.db'}"

    async def main() -> None:
        runtime = AsyncioRuntime()
        opened = await open_stores("memory:", url, runtime=runtime)
        await opened.queue.send({"n": 1})
        assert await opened.d1.prepare("SELECT count(*) AS n FROM queue_messages").first("n") == 1
        await opened.close()
        with pytest.raises(BadStoreUrl):
            await open_stores("memory:", url, "nonsense", runtime=runtime)
        apart = await open_stores("memory:", url, "memory:", runtime=runtime)
        await apart.queue.send({"n": 2})
        assert await apart.d1.prepare("SELECT count(*) AS n FROM queue_messages").first("n") == 1
        await apart.close()

    asyncio.run(main())


def test_a_database_is_set_up_once(tmp_path: Path) -> None:
    """Schema and journeys the first time; one that has events keeps its own, and one that is
    newer than this program is left alone."""
    url = f"sqlite:{tmp_path / 'd1.db'}"
    row = ("u", None, "touch", "x", None, None, None, None, "t", 0, "c", "n")

    async def set_up(rows: list[Any]) -> int:
        d1 = await open_d1(url)
        try:
            d1.set_up(frozenset(), rows)
            count: int = await d1.prepare("SELECT count(*) AS n FROM user_journeys").first("n")
            return count
        finally:
            await d1.close()

    async def age() -> None:
        d1 = await open_d1(url)
        await d1.exec("INSERT INTO schema_version (version) VALUES (1000)")
        await d1.close()

    assert asyncio.run(set_up([row, row])) == 2
    assert asyncio.run(set_up([row] * 5)) == 2
    asyncio.run(age())
    with pytest.raises(BadStoreUrl, match="version 1000"):
        asyncio.run(set_up([]))


def test_each_memory_is_its_own() -> None:
    """Two namespaces in memory share nothing."""

    async def main() -> None:
        one, other = await open_kv(), await open_kv("memory:")
        await one.put("k", "v")
        assert await other.get("k") is None

    asyncio.run(main())
    assert stores.without_secrets("memory:") == "memory:"
