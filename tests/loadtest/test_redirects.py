"""Redirects within one host, for a scenario that wants them followed."""

from __future__ import annotations

import pytest

from loadtest._guard import admit
from loadtest._redirects import Elsewhere, redirected

TARGET = admit("http://127.0.0.1:8787")
POST = b"POST /a/b?c HTTP/1.1\r\nHost: x\r\nContent-Type: t\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/new", b"/new"),
        ("new?d=1", b"/a/new?d=1"),
        ("http://127.0.0.1:8787/x", b"/x"),
        ("http://127.0.0.1:8787", b"/"),
    ],
)
def test_the_place_may_be_relative(location: str, path: bytes) -> None:
    """To the path that was asked; headers stay."""
    follow = redirected(b"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n", 302, location, TARGET)
    assert follow == b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_post_becomes_a_get_unless_the_answer_says_no() -> None:
    """303 and the older two by custom; 307 and 308 keep method and body."""
    for status in (301, 302, 303):
        follow = redirected(POST, status, "/n", TARGET)
        assert follow == b"GET /n HTTP/1.1\r\nHost: x\r\n\r\n"
    for status in (307, 308):
        follow = redirected(POST, status, "/n", TARGET)
        assert follow == POST.replace(b"/a/b?c", b"/n")


@pytest.mark.parametrize(
    "location",
    [
        "http://example.test/",
        "//example.test/",
        "https://127.0.0.1:8787/",
        "http://127.0.0.1:8788/",
        "http://127.0.0.1:8787@example.test/",
        "http://[::1",
        "/a b",
        "/a\r\nX-Evil: 1",
        "/\u00fc",
        "javascript:alert(1)",
    ],
)
def test_no_other_host_is_asked(location: str) -> None:
    """Not by name, scheme or port, and nothing is smuggled into the request."""
    with pytest.raises(Elsewhere):
        redirected(POST, 302, location, TARGET)
