"""Stores by URL: what ``edgekpi serve --kv URL --d1 URL --queue URL`` runs on.

| URL | store |
|---|---|
| ``memory:`` | KV or a queue in this process, gone with it |
| ``redis://``, ``rediss://``, ``unix://`` | KV in Redis or Valkey |
| ``sqlite:FILE``, ``sqlite::memory:`` | D1 or a queue on SQLite |

Secrets in a URL stand in no message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import apsw
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from reference_impl.adapters.asyncio_runtime import AsyncioRuntime
from reference_impl.adapters.d1_binding import D1Binding, DirectExecutor
from reference_impl.adapters.redis_kv import RedisKV, embedded_kv
from reference_impl.adapters.sqlite import SqliteEngine
from reference_impl.adapters.sqlite_file import FileExecutor, open_file
from reference_impl.adapters.sqlite_queue import SqliteQueue
from reference_impl.ports import D1Error, Runtime, SqlValue

KV_URLS = "memory: or redis://HOST:PORT/DB (rediss:// with TLS, unix:///SOCKET)"
D1_URLS = "sqlite:FILE or sqlite::memory:"
QUEUE_URLS = f"memory: or {D1_URLS}"

MEMORY = "memory:"
SQLITE_MEMORY = "sqlite::memory:"

ANSWER_TIMEOUT_S = 0.5
"""For a connection, and for an answer: a Redis beside the server answers within a millisecond, and
a look-up is better answered from D1 than kept waiting (assumption)."""

CONNECTIONS = 64
"""To one Redis, whose one thread they keep busy; whoever asks beyond them waits for one that is
free. The client's own pool would refuse instead."""

REDIS_SCHEMES = ("redis", "rediss", "unix")


class BadStoreUrl(ValueError):
    """A URL that names no store."""


class StoreUnreachable(OSError):
    """A store that does not answer, or is not what its URL says."""


async def open_kv(
    url: str = MEMORY,
    *,
    now_s: Callable[[], float] = time.time,
    now_us: Callable[[], int] | None = None,
) -> RedisKV:
    """The KV namespace at ``url``; ``now_s`` is the clock that lives count by.

    Before one outside this process is a circuit breaker; ``now_us`` is its clock, the running
    loop's unless given.

    Of Redis URLs ``?namespace=NAME`` (by default ``kv``) keeps several apart in one database, and
    ``?write_spacing_s=1`` refuses a key's second write within so many seconds, as KV does.

    Raises:
        BadStoreUrl: for what is no such URL.
        StoreUnreachable: nothing answers there, or not to us.
    """
    if url == MEMORY:
        return embedded_kv(now_s=now_s)
    if url.partition(":")[0] not in REDIS_SCHEMES:
        raise BadStoreUrl(f"{without_secrets(url)}: expected {KV_URLS}")
    try:
        bare, options = _options(url, {"namespace": str, "write_spacing_s": float})
        pool = BlockingConnectionPool.from_url(
            bare,
            max_connections=CONNECTIONS,
            timeout=ANSWER_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            # Asked again if the connection broke, which it may have done while it lay idle, but
            # not if the answer did not come in time.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
        )
    except BadStoreUrl:
        raise
    except ValueError:  # its words may show a part of what it could not read
        raise BadStoreUrl(f"{without_secrets(url)}: expected {KV_URLS}") from None
    redis = Redis.from_pool(pool)
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        await redis.aclose()
        raise StoreUnreachable(f"{without_secrets(url)}: {_why(error)}") from None
    return RedisKV(redis, now_s=now_s, now_us=now_us or AsyncioRuntime().now_us, **options)


async def open_d1(url: str = SQLITE_MEMORY) -> D1Store:
    """The D1 database at ``url``, as it is: the schema is up to ``reference_impl.d1.migrations``.

    Raises:
        BadStoreUrl: for what is no such URL.
        StoreUnreachable: the file cannot be opened, or is no database.
    """
    return D1Store(_executor(url, D1_URLS))


async def open_queue(url: str = MEMORY, *, runtime: Runtime | None = None) -> SqliteQueue:
    """The queue at ``url``; several in one file are one.

    Raises:
        BadStoreUrl: for what is no such URL.
        StoreUnreachable: the file cannot be opened, or is no database.
    """
    d1 = D1Store(_executor(SQLITE_MEMORY if url == MEMORY else url, QUEUE_URLS))
    queue = SqliteQueue(d1, runtime or AsyncioRuntime(), d1.close)
    try:
        await queue.open()
    except D1Error as error:
        await d1.close()
        raise StoreUnreachable(f"{without_secrets(url)}: {error}") from None
    return queue


async def open_stores(
    kv: str = MEMORY, d1: str = SQLITE_MEMORY, queue: str | None = None, *, runtime: Runtime
) -> Stores:
    """All three; unless given, the queue lies in the file of the database.

    Raises:
        BadStoreUrl, StoreUnreachable: as the stores themselves do; nothing stays open.
    """
    async with AsyncExitStack() as opened:
        own_kv = await open_kv(kv, now_us=runtime.now_us)
        opened.push_async_callback(own_kv.close)
        own_d1 = await open_d1(d1)
        opened.push_async_callback(own_d1.close)
        own_queue = await open_queue(queue or d1, runtime=runtime)
        opened.pop_all()
    return Stores(own_kv, own_d1, own_queue)


class D1Store(D1Binding):
    """The D1 binding over a database of this process, which may also be made ready and closed."""

    def __init__(self, executor: DirectExecutor | FileExecutor) -> None:
        super().__init__(executor)
        self._own = executor

    @property
    def engine(self) -> SqliteEngine:
        """The database itself, for whoever makes it ready before anything is asked of it."""
        return self._own.engine

    def set_up(self, drop_indexes: frozenset[str], journeys: Iterable[Sequence[SqlValue]]) -> None:
        """Bring the schema up to date, and load ``journeys`` if there is no event yet. To be
        called before anything is asked.

        Raises:
            BadStoreUrl: the database is newer than this program.
            StoreUnreachable: it cannot be written.
        """
        try:
            self.engine.migrate(drop_indexes)
            if not self.engine.has_journeys():
                self.engine.insert_journeys(journeys)
        except ValueError as error:
            raise BadStoreUrl(f"sqlite:{self.engine.path}: {error}") from None
        except apsw.Error as error:
            raise StoreUnreachable(f"sqlite:{self.engine.path}: {error}") from None

    async def close(self) -> None:
        """Finish what was asked, and let go of the file."""
        await self._own.close()


@dataclass(frozen=True, slots=True)
class Stores:
    """What a deployment keeps everything in."""

    kv: RedisKV
    d1: D1Store
    queue: SqliteQueue

    async def close(self) -> None:
        """Let go of all three."""
        await self.queue.close()
        await self.d1.close()
        await self.kv.close()


def without_secrets(url: str) -> str:
    """``url`` without user, password and options, for messages."""
    bare = url.partition("?")[0]
    scheme, _, rest = bare.partition(":")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else bare


def _executor(url: str, expected: str) -> DirectExecutor | FileExecutor:
    if url == SQLITE_MEMORY:
        return DirectExecutor(SqliteEngine(priced=False))
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path or path.startswith(":"):
        raise BadStoreUrl(f"{without_secrets(url)}: expected {expected}")
    try:
        return open_file(path)
    except OSError as error:
        raise StoreUnreachable(f"{without_secrets(url)}: {error}") from None


def _options(url: str, known: dict[str, Callable[[str], Any]]) -> tuple[str, dict[str, Any]]:
    """The URL without its options, and the options of ours; Redis's own ``db`` stays."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    bare = urlunsplit(parts._replace(query=f"db={given.pop('db')}" if "db" in given else ""))
    if unknown := sorted(given.keys() - known.keys()):
        expected = ", ".join(sorted([*known, "db"]))
        message = f"{without_secrets(url)}: unknown option {unknown[0]!r}; one of {expected}"
        raise BadStoreUrl(message)
    try:
        return bare, {name: known[name](value) for name, value in given.items()}
    except ValueError as error:
        raise BadStoreUrl(f"{without_secrets(url)}: {error}") from None


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
