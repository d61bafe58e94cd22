"""The HTTP/1.1 client: exactly what was asked for, and nothing behind the measurement's back.

Why not Locust's own: it follows redirects, does not verify TLS, waits for a pool slot inside the
measured time, and repeats a request on a closed connection up to once per slot. Here one
exchange is one request on the wire; only the parser is geventhttpclient's.
"""

from __future__ import annotations

import errno
import ssl
import time
from typing import Any, NamedTuple

import gevent
import gevent.socket
import gevent.ssl
from gevent.monkey import get_original
from geventhttpclient.response import HTTPParseError, HTTPSocketResponse

from loadtest._guard import Target
from loadtest._redirects import STATUSES, Elsewhere, redirected
from loadtest._setup import Setup

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A longer body fails the request: bodies are read whole, so they must have an end."""

MAX_CONNECTIONS = 60_000
"""More than one address of this machine has ports for."""

MAX_IDLE_S = 4.0
"""Idle connections are not used after this: uvicorn closes them after 5 s, nginx after 75."""

_BLOCK_BYTES = 16 * 1024
_OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS})

# gevent's own poll would switch to another request in the middle of taking a connection.
_poll = get_original("select", "poll")
_POLLIN = 1


class Answer(NamedTuple):
    """Status, headers by their names in lower case, and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Failed(Exception):
    """An exchange without an answer.

    ``reason`` is ``timeout``, ``connection``, ``certificate``, ``too large`` or ``redirect to
    another host``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class GeneratorFailed(Failed):
    """This machine could not open another connection: the generator's failure, not the server's."""


class Connections:
    """How many connections are open, of those that one run may have."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    def take(self) -> None:
        """Count one more.

        Raises:
            GeneratorFailed: when there are as many already.
        """
        if self._open >= self._most:
            raise GeneratorFailed("connection", f"target.max_connections: {self._most} are open")
        self._open += 1

    def give(self) -> None:
        """Count one less."""
        self._open -= 1


class Client:
    """Sends prepared requests to one target, on kept or on new connections.

    ``connections`` may be shared with other clients of the run. ``redirects`` is how many are
    followed, as part of the exchange.
    """

    def __init__(
        self,
        target: Target,
        *,
        keep_alive: bool,
        timeout_s: float,
        connections: Connections | None = None,
        redirects: int = 0,
    ) -> None:
        self._target = target
        self._connections = connections or Connections(MAX_CONNECTIONS)
        self._redirects = redirects
        self._addresses = list(target.addresses)
        self._keep_alive = keep_alive
        self._timeout_s = timeout_s
        self._idle: list[tuple[float, Any]] = []
        secure = target.scheme == "https"
        self._tls = gevent.ssl.create_default_context() if secure else None

    def exchange(self, request: bytes) -> Answer:
        """Send one request and read its whole answer; ``timeout_s`` bounds all of it.

        Raises:
            Failed: when no whole answer came.
        """
        with gevent.Timeout(self._timeout_s) as limit:
            try:
                return self._follow(request, self._exchange(request))
            except gevent.Timeout as error:
                if error is not limit:
                    raise
                raise Failed("timeout") from None
            except ssl.SSLCertVerificationError as error:
                raise Failed("certificate", error.verify_message) from None
            except OSError as error:
                kind = GeneratorFailed if error.errno in _OWN_ERRORS else Failed
                raise kind("connection", str(error)) from None
            except HTTPParseError as error:
                raise Failed("connection", str(error)) from None

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._close(self._idle.pop()[1])

    def _follow(self, request: bytes, answer: Answer) -> Answer:
        for _ in range(self._redirects):
            location = answer.headers.get("location")
            if answer.status not in STATUSES or location is None:
                break
            try:
                request = redirected(request, answer.status, location, self._target)
            except Elsewhere:
                raise Failed("redirect to another host", location) from None
            answer = self._exchange(request)
        return answer

    def _exchange(self, request: bytes) -> Answer:
        sock = self._take() or self._connect()
        try:
            sock.sendall(request)
            response = HTTPSocketResponse(sock, block_size=_BLOCK_BYTES)
            body = _read(response)
        except BaseException:
            self._close(sock)
            raise
        if self._keep_alive and not response.should_close():
            self._idle.append((time.monotonic(), sock))
        else:
            self._close(sock)
        headers = {name.lower(): value for name, value in response.info().itermerged()}
        return Answer(response.status_code, headers, body)

    def _take(self) -> Any | None:
        """The connection used last, unless it is old or the other side has closed it."""
        while self._idle:
            since, sock = self._idle.pop()
            if time.monotonic() - since < MAX_IDLE_S and not _is_readable(sock):
                return sock
            self._close(sock)
        return None

    def _close(self, sock: Any) -> None:
        sock.close()
        self._connections.give()

    def _connect(self) -> Any:
        self._connections.take()
        try:
            return self._open()
        except BaseException:
            self._connections.give()
            raise

    def _open(self) -> Any:
        """A new connection to the first address that takes one; that one is tried first later."""
        for address in tuple(self._addresses):
            sock = gevent.socket.socket(address.family, gevent.socket.SOCK_STREAM)
            try:
                sock.connect(address.sockaddr)
                sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_hostname=self._target.name)
            except BaseException as error:
                sock.close()
                last = address == self._addresses[-1]
                if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and not last:
                    continue
                raise
            self._addresses.sort(key=lambda other: other != address)
            return sock
        raise OSError("the host has no address")


def _read(response: HTTPSocketResponse) -> bytes:
    body = bytearray()
    while block := response.read(_BLOCK_BYTES):
        body += block
        if len(body) > MAX_BODY_BYTES:
            raise Failed("too large")
    return bytes(body)


def _is_readable(sock: Any) -> bool:
    """Whether an idle connection has something to read: its end, or what nobody asked for."""
    poll = _poll()
    poll.register(sock.fileno(), _POLLIN)
    return bool(poll.poll(0))


class Clients:
    """The clients of one generator by route; routes of one host share its connections.

    The run's budget of connections is shared out among its ``generators``.
    """

    def __init__(self, setup: Setup, generators: int = 1) -> None:
        connections = Connections(max(setup.mapped.max_connections // generators, 1))
        by_target = {
            target: Client(
                target,
                keep_alive=setup.scenario.client.connections == "keep_alive",
                timeout_s=setup.scenario.client.timeout_s,
                connections=connections,
                redirects=setup.mapped.follow_redirects,
            )
            for target in setup.targets.values()
        }
        self._by_route = {route: by_target[target] for route, target in setup.targets.items()}

    def exchange(self, route: str, request: bytes) -> Answer:
        """As :meth:`Client.exchange`, at the host of ``route``."""
        return self._by_route[route].exchange(request)

    def close(self) -> None:
        """Close the idle connections of all."""
        for client in self._by_route.values():
            client.close()
