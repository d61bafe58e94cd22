"""The few doors between the stack and the world it runs in.

The stack (caches, queries, handlers, consumer) awaits only what is declared here. SimPy stands
behind these protocols in virtual time, asyncio in real time; the stack cannot tell which.

House rules of this file: protocols, value types and errors only; no implementation, no clock,
no randomness, no input or output.

Units: every time is an integer number of microseconds and its name ends in ``_us``, except
where a Cloudflare binding names seconds itself (``expiration_ttl``, ``cache_ttl``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, overload

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SqlValue = str | int | float | bytes | None


# --------------------------------------------------------------------------- errors


class EdgeError(Exception):
    """Base of all errors that cross a port.

    Every subclass can be rebuilt from its positional ``args``: an event kernel may do that when
    an error passes from one job to another.
    """


class DeadlineExceeded(EdgeError):
    """A :meth:`Runtime.deadline` ran out before its coroutine finished."""


class KVError(EdgeError):
    """A KV operation failed; ``status`` is the HTTP status the service would have answered."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


class KVTypeError(KVError, TypeError):
    """The binding itself refused an argument, before anything travelled."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message, status)


class KVJSONError(KVError, ValueError):
    """A value that was asked for as JSON is none. The message has nothing of the value."""


class D1Error(EdgeError):
    """A D1 statement or batch failed; the message starts with ``D1_`` as on the platform."""


class QueueError(EdgeError):
    """A message could not be handed to the queue."""


# --------------------------------------------------------------------------- runtime


class Job(Protocol[T_co]):
    """A running coroutine, as returned by :meth:`Runtime.spawn`; awaiting it gives its result.

    Awaiting a cancelled job raises the runtime's own cancellation (a ``BaseException``).
    """

    @property
    def done(self) -> bool: ...

    def cancel(self) -> None:
        """Stop the job at its next (or present) await; its ``finally`` blocks run."""

    def __await__(self) -> Any: ...


class Latch(Protocol):
    """A value that is set once and that any number of jobs may wait for (single-flight)."""

    @property
    def is_set(self) -> bool: ...

    def set(self, value: Any = None) -> None:
        """Wake all waiters with ``value``; a second ``set`` or ``fail`` is a ``RuntimeError``."""

    def fail(self, error: Exception) -> None:
        """Wake all waiters with ``error``."""

    def wait(self) -> Awaitable[Any]:
        """The value, at once if it is there already."""


class Limiter(Protocol):
    """At most ``capacity`` holders at a time, served first in, first out.

    A waiter that is cancelled leaves the queue; capacity is never granted to nobody.
    """

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Runtime(Protocol):
    """Clock and concurrency. No logic may rest on the order of jobs due at the same instant.

    A time that is no ``int`` (a fraction, a NumPy number) is a ``TypeError``.
    """

    punctual: ClassVar[bool]
    """Whether a sleep ends exactly when it is due, as in virtual time."""

    def now_us(self) -> int:
        """Monotonic time; only differences mean anything."""

    def wall_us(self) -> int:
        """Time since 1970-01-01 UTC."""

    def sleep(self, us: int) -> Awaitable[None]:
        """Wait ``us``; zero or less yields once to other jobs at most."""

    def sleep_until(self, at_us: int) -> Awaitable[None]:
        """Wait until :meth:`now_us` is at least ``at_us``; returns at once when it is past."""

    def spawn(self, work: Coroutine[Any, Any, T], *, at_us: int | None = None) -> Job[T]:
        """Start ``work`` beside the caller, now or at ``at_us``.

        An error that nobody awaits at the moment it is raised is handed to the runtime's
        ``on_error``, never dropped; awaiting the job later raises it again.
        """

    async def gather(
        self, works: Iterable[Coroutine[Any, Any, T]], limit: int | None = None
    ) -> list[T]:
        """Results in the order of ``works``, at most ``limit`` running at once.

        The first error cancels the rest and is raised once they have stopped.
        """

    async def deadline(self, work: Coroutine[Any, Any, T], us: int) -> T:
        """The result of ``work``; after ``us`` it is cancelled.

        Raises:
            DeadlineExceeded: when the time ran out, after the ``finally`` blocks of ``work``.
        """

    def latch(self) -> Latch: ...

    def limiter(self, capacity: int) -> Limiter: ...


# --------------------------------------------------------------------------- Workers KV


KVType = Literal["text", "json", "bytes"]
"""As what a value is read; the platform's ``arrayBuffer`` and ``stream`` are ``bytes`` here."""

Keys = list[str]
"""Keys of a bulk read."""


class KVEntry(NamedTuple):
    """A value and its metadata; both ``None`` for a key that is not there."""

    value: Any
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class KVKey:
    """One row of a KV listing; ``expiration`` is in seconds since 1970."""

    name: str
    expiration: int | None = None
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class KVList:
    """One page of a KV listing, in UTF-8 byte order."""

    keys: tuple[KVKey, ...]
    list_complete: bool
    cursor: str | None = None


class KVNamespace(Protocol):
    """The Workers KV binding in snake case.

    Limits and meanings: https://developers.cloudflare.com/kv/platform/limits/ and
    https://developers.cloudflare.com/kv/api/. Raises :class:`KVError`.
    """

    @overload
    async def get(
        self, key: str, type: Literal["text"] = "text", cache_ttl: int | None = None
    ) -> str | None: ...

    @overload
    async def get(self, key: str, type: KVType, cache_ttl: int | None = None) -> Any: ...

    @overload
    async def get(
        self, key: Keys, type: KVType = "text", cache_ttl: int | None = None
    ) -> dict[str, Any]:
        """The value under ``key``, or ``None``. 1 to 100 keys are one read, as text or JSON only,
        and answer all their values by key.

        Raises:
            KVJSONError: a value asked for as JSON is none; of several keys, any one of them.
        """

    @overload
    async def get_with_metadata(
        self, key: str, type: KVType = "text", cache_ttl: int | None = None
    ) -> KVEntry: ...

    @overload
    async def get_with_metadata(
        self, key: Keys, type: KVType = "text", cache_ttl: int | None = None
    ) -> dict[str, KVEntry | None]:
        """As :meth:`get`, with what was put beside the value. Of several keys those that are not
        there are ``None``."""

    async def put(
        self,
        key: str,
        value: str | bytes,
        expiration_ttl: float | None = None,
        expiration: float | None = None,
        metadata: Any = None,
    ) -> None:
        """Write ``value`` until ``expiration_ttl`` seconds from now, or else until ``expiration``
        (seconds since 1970), or else without an end. ``metadata`` is anything that is JSON."""

    async def delete(self, key: str) -> None: ...

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList: ...


# --------------------------------------------------------------------------- D1


class D1Result(NamedTuple):
    """The answer to one statement: rows by column name, and the bare values in ``raw``
    in the order of ``columns``.

    ``meta`` holds at least ``duration`` (ms of SQL alone), ``changes``, ``last_row_id`` and
    ``rows_read``; ours adds ``wait_us`` and ``round_trip_us`` where a model knows them. https://developers.cloudflare.com/d1/worker-api/return-object/
    """

    results: list[dict[str, Any]]
    success: bool = True
    meta: Mapping[str, Any] = MappingProxyType({})
    raw: Sequence[tuple[Any, ...]] = ()
    columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class D1ExecResult:
    """How many statements :meth:`D1Database.exec` ran, and for how many milliseconds of SQL."""

    count: int
    duration: float


class D1Statement(Protocol):
    """A prepared statement with or without bound values."""

    def bind(self, *values: SqlValue) -> D1Statement: ...

    async def all(self) -> D1Result: ...

    async def run(self) -> D1Result: ...

    async def first(self, column: str | None = None) -> Any: ...

    async def raw(self, column_names: bool = False) -> list[list[Any]]:
        """Bare rows; with ``column_names`` the names come as the first of them."""


class D1Database(Protocol):
    """The D1 binding in snake case. Raises :class:`D1Error`."""

    def prepare(self, sql: str) -> D1Statement: ...

    async def batch(self, statements: Sequence[D1Statement]) -> list[D1Result]:
        """All statements in one transaction and one round trip; any failure undoes all."""

    async def exec(self, sql: str) -> D1ExecResult:
        """Run statements without values, one a line, all or none of them."""


# --------------------------------------------------------------------------- Queues


class Queue(Protocol):
    """The producer side of a queue. Raises :class:`QueueError`."""

    async def send(self, body: Mapping[str, Any]) -> None: ...

    async def send_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Up to 100 messages in one call; all are taken or none."""


class Message(NamedTuple):
    """One delivery of a queued message. ``attempts`` counts from 1."""

    id: str
    body: Mapping[str, Any]
    accepted_us: int
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message given up after its last attempt; times are microseconds since 1970."""

    id: str
    body: Mapping[str, Any]
    attempts: int
    accepted_us: int
    died_us: int


class DeadLetters(Protocol):
    """The dead of a queue, for whoever looks after it."""

    async def dead_letters(self, limit: int = 100, after: str = "0") -> Sequence[DeadLetter]:
        """At most ``limit``, the longest dead first, behind the one with the ID ``after``.

        Raises:
            ValueError: ``after`` can be no message's ID.
        """

    async def replay(self, ids: Sequence[str]) -> int:
        """Deliver dead messages again, as if new; how many of ``ids`` were dead.

        Raises:
            ValueError: one can be no message's ID.
        """
