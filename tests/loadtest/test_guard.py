"""Which hosts may be asked: this machine, or one whose name was repeated."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from loadtest._guard import Refused, admit

NAMES = {
    "foreign.test": ["203.0.113.7"],
    "mixed.test": ["127.0.0.1", "203.0.113.7"],
    "own.test": ["127.0.0.1", "::1"],
}


@pytest.fixture(autouse=True)
def name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names from a table; addresses stand for themselves; anything else has no address."""
    real = socket.getaddrinfo

    def resolve(name: str, port: int, **kwargs: Any) -> Any:
        if name in NAMES:
            return [row for ip in NAMES[name] for row in real(ip, port, **kwargs)]
        return real(name, port, flags=socket.AI_NUMERICHOST, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8787",
        "http://127.8.9.1",
        "https://[::1]:8443/base",
        "http://[::ffff:127.0.0.1]:1",
        "http://own.test",
    ],
)
def test_this_machine_needs_no_permission(url: str) -> None:
    """Loopback in every notation is admitted."""
    assert not admit(url).is_foreign


@pytest.mark.parametrize(
    "url",
    [
        "http://foreign.test",
        "http://mixed.test:8080",
        "http://0.0.0.0:80",
        "http://10.0.0.1",
        "http://[::ffff:10.0.0.1]",
    ],
)
def test_any_other_host_is_refused(url: str) -> None:
    """One address beyond loopback is enough, and the sentence says what to type."""
    with pytest.raises(Refused, match="add --i-own-this-host"):
        admit(url)


def test_the_owner_repeats_the_name_exactly() -> None:
    """A different name is no permission; the right one is, and the host stays foreign."""
    for near in ("foreign", "foreign.test.", "http://foreign.test", "FOREIGN.test", ""):
        with pytest.raises(Refused):
            admit("http://foreign.test", [near])
    assert admit("http://foreign.test", ["foreign.test"]).is_foreign


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (None, "--host is missing"),
        ("", "--host is missing"),
        ("127.0.0.1:8787", "expected http"),
        ("ftp://127.0.0.1", "expected http"),
        ("http://", "expected http"),
        ("http://127.0.0.1:99999", "ort"),
        ("http://127.0.0.1/?a=b", "without"),
        ("http://127.0.0.1/a b", "--host"),
        ("http://127.0.0.1/\r\nX-Evil: 1", "--host"),
        ("http://no-such.test", "has no address"),
    ],
)
def test_what_is_no_usable_url_is_refused(url: str | None, sentence: str) -> None:
    """Every refusal is one sentence about --host."""
    with pytest.raises(Refused, match=sentence) as refusal:
        admit(url)
    assert len(refusal.value.problems) == 1


def test_user_and_password_are_sent_but_never_shown() -> None:
    """They become a header; the URL that goes into the record is without them."""
    target = admit("http://me:p%40ss@127.0.0.1:80/base/")
    assert target.authorization == "Basic bWU6cEBzcw=="
    assert target.url == "http://127.0.0.1/base"
    assert target.authority == "127.0.0.1"


def test_an_ipv6_host_keeps_its_brackets() -> None:
    """As the Host header wants it."""
    assert admit("http://[::1]:8080").authority == "[::1]:8080"
