"""The HTTP client against a server that says exactly what the test wants."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtest import _client
from loadtest._client import Client, Clients, Connections, Failed, GeneratorFailed
from loadtest._guard import Address, Target, admit
from tests.loadtest.setups import setup

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@contextmanager
def server(*answers: bytes, close: bool = False) -> Iterator[tuple[Target, list[int]]]:
    """Answers requests one after another; yields where, and on which connection each came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[int] = []
        work = threading.Thread(target=_serve, args=(listener, list(answers), close, seen))
        work.start()
        yield admit(f"http://127.0.0.1:{listener.getsockname()[1]}"), seen
        listener.shutdown(socket.SHUT_RDWR)
        work.join(10)
        assert not work.is_alive()


def _serve(listener: socket.socket, answers: list[bytes], close: bool, seen: list[int]) -> None:
    connection = 0
    while answers:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            while answers and peer.recv(65536):
                seen.append(connection)
                peer.sendall(answers.pop(0))
                if close:
                    break
            connection += 1


@contextmanager
def client(
    target: Target,
    keep_alive: bool = True,
    timeout_s: float = 5.0,
    budget: Connections | None = None,
) -> Iterator[Client]:
    under_test = Client(target, keep_alive=keep_alive, timeout_s=timeout_s, connections=budget)
    yield under_test
    under_test.close()


def reason_of_failure(target: Target, timeout_s: float = 5.0) -> str:
    with client(target, timeout_s=timeout_s) as under_test, pytest.raises(Failed) as failure:
        under_test.exchange(REQUEST)
    return failure.value.reason


def test_a_connection_is_kept_and_used_again() -> None:
    """Three requests one after another on one connection."""
    with server(OK, OK, OK) as (target, seen), client(target) as under_test:
        assert [under_test.exchange(REQUEST).body for _ in range(3)] == [b"hi"] * 3
    assert seen == [0, 0, 0]


def test_a_new_connection_for_each_request() -> None:
    """When connections are not kept."""
    with server(OK, OK) as (target, seen), client(target, keep_alive=False) as under_test:
        assert [under_test.exchange(REQUEST).status for _ in range(2)] == [200, 200]
    assert seen == [0, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
    ],
)
def test_a_connection_that_ends_is_not_used_again(answer: bytes) -> None:
    """Said by the header, by the version, or by the body's end being the connection's."""
    with server(answer, answer, close=True) as (target, seen), client(target) as under_test:
        assert [under_test.exchange(REQUEST).body for _ in range(2)] == [b"hi", b"hi"]
    assert seen == [0, 1]


def test_a_connection_closed_meanwhile_is_noticed_before_use() -> None:
    """The server closes an idle connection; the next request is not lost to it."""
    with server(OK, OK, close=True) as (target, seen), client(target) as under_test:
        under_test.exchange(REQUEST)
        select.select([under_test._idle[-1][1].fileno()], [], [])  # until the close is here
        assert under_test.exchange(REQUEST).status == 200
    assert seen == [0, 1]


def test_an_old_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be about to close it."""
    monkeypatch.setattr(_client, "MAX_IDLE_S", 0.0)
    with server(OK, OK) as (target, seen), client(target) as under_test:
        assert [under_test.exchange(REQUEST).status for _ in range(2)] == [200, 200]
    assert seen == [0, 1]


def test_headers_come_in_lower_case_and_doubled_ones_joined() -> None:
    """As the reader of the evidence wants them."""
    answer = b"HTTP/1.1 202 A\r\nServer-Timing: a\r\nSERVER-TIMING: b\r\nContent-Length: 0\r\n\r\n"
    with server(answer) as (target, _), client(target) as under_test:
        got = under_test.exchange(REQUEST)
    assert (got.status, got.headers["server-timing"], got.body) == (202, "a, b", b"")


def test_a_redirect_is_an_answer() -> None:
    """Unless asked for, it is not followed: one request on the wire is one request."""
    answer = b"HTTP/1.1 302 F\r\nLocation: http://example.test/\r\nContent-Length: 0\r\n\r\n"
    with server(answer) as (target, seen), client(target) as under_test:
        assert under_test.exchange(REQUEST).status == 302
    assert seen == [0]


def test_redirects_are_followed_as_often_as_asked_for() -> None:
    """The one after that is the answer; another host is never asked."""
    moved = b"HTTP/1.1 302 F\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    away = moved.replace(b"/b", b"http://example.test/")
    for answers, outcome in (([moved, OK], 200), ([moved, moved, moved], 302), ([away], "other")):
        with server(*answers) as (target, seen):
            under_test = Client(target, keep_alive=True, timeout_s=5, redirects=2)
            if outcome == "other":
                with pytest.raises(Failed, match="redirect to another host"):
                    under_test.exchange(REQUEST)
            else:
                assert under_test.exchange(REQUEST).status == outcome
            under_test.close()
        assert len(seen) == len(answers)


def test_connections_beyond_the_budget_are_the_generators_failure() -> None:
    """A failed or closed one is given back; a kept one still counts."""
    budget = Connections(1)
    with server(OK, OK, close=True) as (target, _), client(target, budget=budget) as under_test:
        assert under_test.exchange(REQUEST).status == 200
        with client(target, budget=budget) as other, pytest.raises(GeneratorFailed, match="max_co"):
            other.exchange(REQUEST)
        under_test.close()
        with client(target, budget=budget) as other:
            assert other.exchange(REQUEST).status == 200
    with server() as (target, _):
        pass
    for _ in range(3):
        with client(target, budget=budget) as nobody, pytest.raises(Failed) as failure:
            nobody.exchange(REQUEST)
        assert not isinstance(failure.value, GeneratorFailed)


@pytest.mark.parametrize(
    "answer",
    [
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"",
    ],
)
def test_half_an_answer_is_a_failure(answer: bytes) -> None:
    """Reason "connection", and nothing is sent a second time."""
    with server(answer, close=True) as (target, seen):
        assert reason_of_failure(target) == "connection"
    assert seen == [0]


def test_a_body_without_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies are read whole, up to a limit."""
    monkeypatch.setattr(_client, "MAX_BODY_BYTES", 10)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11
    with server(answer) as (target, _):
        assert reason_of_failure(target) == "too large"


def test_the_time_out_covers_everything() -> None:
    """A server that begins to answer and stops is timed out too."""
    with server(b"HTTP/1.1 200 OK\r\n", OK) as (target, _):
        assert reason_of_failure(target, timeout_s=0.05) == "timeout"


def test_nobody_there_is_a_failure() -> None:
    """A refused connection says so at once."""
    with server() as (target, _):
        pass
    assert reason_of_failure(target) == "connection"


def test_a_machine_out_of_sockets_is_the_generators_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not be blamed on the server."""

    def no_socket(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with server() as (target, _), client(target) as under_test:
        monkeypatch.setattr("gevent.socket.socket", no_socket)
        with pytest.raises(GeneratorFailed):
            under_test.exchange(REQUEST)


def test_the_second_address_serves_when_the_first_refuses() -> None:
    """A name with two addresses and a server on one of them; it is tried first from then on."""
    with server(OK) as (target, _):
        with socket.create_server(("127.0.0.1", 0)) as dead:
            closed = Address(socket.AF_INET, dead.getsockname())
        both = Target("http", "a", target.port, "", (closed, *target.addresses))
        with client(both) as under_test:
            assert under_test.exchange(REQUEST).status == 200
            assert under_test._addresses == [*target.addresses, closed]


@pytest.mark.parametrize(("generators", "share"), [(1, 3), (2, 1), (9, 1)])
def test_generators_share_the_budget_of_connections(generators: int, share: int) -> None:
    """What the scenario allows is for the run, not for each process of it; one is always left."""
    asked = setup(scenario="smoke/tiny", overrides=["target.max_connections=3"])
    connections = Clients(asked, generators)._by_route["tracking"]._connections
    for _ in range(share):
        connections.take()
    with pytest.raises(GeneratorFailed, match="are open"):
        connections.take()


def test_a_certificate_that_cannot_be_trusted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads "connection" looks for a server that is down."""

    def distrust(*_: object) -> None:
        error = ssl.SSLCertVerificationError()
        error.verify_message = "self-signed certificate"
        raise error

    with server() as (target, _), client(target) as under_test:
        monkeypatch.setattr(under_test, "_open", distrust)
        with pytest.raises(Failed) as failure:
            under_test.exchange(REQUEST)
    assert failure.value.args == ("certificate", "self-signed certificate")


def test_tls_is_verified() -> None:
    """Certificate and name are checked, and who does not speak TLS is not talked to."""
    with server(b"HTTP/1.1 400 plain\r\n\r\n", close=True) as (target, _):
        secure = Target("https", "127.0.0.1", target.port, "", target.addresses)
        assert reason_of_failure(secure) == "connection"
        with client(secure) as under_test:
            assert under_test._tls is not None
            assert under_test._tls.verify_mode is ssl.CERT_REQUIRED
            assert under_test._tls.check_hostname
