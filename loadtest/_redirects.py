"""Redirects, for a scenario that wants them followed: within one host, and never anywhere else."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from loadtest._guard import DEFAULT_PORTS, Target

KEEP_METHOD = (307, 308)
STATUSES = (301, 302, 303, *KEEP_METHOD)

_PATH = re.compile(rb"[!-~]+")
_OF_THE_BODY = (b"content-length:", b"content-type:")


class Elsewhere(Exception):
    """The answer points to another host, where nobody has allowed us to ask."""


def redirected(request: bytes, status: int, location: str, target: Target) -> bytes:
    """The request that follows ``request`` after an answer with ``status`` and ``location``.

    After 307 and 308 it is the same one at another place, after the others a GET (RFC 9110, 15.4).

    Raises:
        Elsewhere: when ``location`` lies on another host, scheme or port, or is no URL.
    """
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    method, path, version = first.split(b" ")
    try:
        place = urlsplit(urljoin(f"{target.scheme}://{target.authority}{path.decode()}", location))
        port = place.port or DEFAULT_PORTS.get(place.scheme)
        there = (place.scheme, place.hostname, port)
        raw = f"{place.path or '/'}{f'?{place.query}' if place.query else ''}".encode("ascii")
    except ValueError:
        raise Elsewhere from None
    if there != (target.scheme, target.name, target.port) or not _PATH.fullmatch(raw):
        raise Elsewhere
    if status not in KEEP_METHOD:
        method, body = b"GET", b""
        headers = [line for line in headers if not line.lower().startswith(_OF_THE_BODY)]
    return b"\r\n".join([b" ".join([method, raw, version]), *headers, b"", body])
