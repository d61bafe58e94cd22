"""The guard: which host may be asked at all, decided before the first packet goes there."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

_PLAIN = re.compile(r"[!\"$-&'-/0->@-~]+")  # printable ASCII but for space, ? and #
DEFAULT_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """Wrong input: nothing was sent. ``problems`` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Address:
    """One address of the host, as the socket module takes it."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def is_loopback(self) -> bool:
        # A scope ("%lo") is no part of the address; a mapped IPv4 address is judged as IPv4.
        ip = ipaddress.ip_address(self.sockaddr[0].partition("%")[0])
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return (mapped or ip).is_loopback


@dataclass(frozen=True, slots=True)
class Target:
    """A host that may be asked.

    Connections go to ``addresses``, those that were judged, and the name is never resolved
    again: a name that changes its address between check and use is not followed.
    """

    scheme: str
    name: str
    port: int
    prefix: str
    addresses: tuple[Address, ...]
    authorization: str | None = field(default=None, repr=False)

    @property
    def is_foreign(self) -> bool:
        """Whether any address of it is not this machine."""
        return not all(address.is_loopback for address in self.addresses)

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header wants them."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """Where the load went, without user and password."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


def admit(url: str | None, owned: Collection[str] = (), where: str = "--host") -> Target:
    """The target behind a URL, if it may be asked.

    Args:
        url: an absolute URL; its path is put before every path asked for.
        owned: the names that ``--i-own-this-host`` repeats.
        where: the option or field that holds the URL.

    Raises:
        Refused: without a host, for a URL that cannot be used, a name without an address, and a
            host that is not this machine unless ``owned`` repeats its name exactly.
    """
    if not url:
        raise Refused(f"{where} is missing: name the server to ask, like http://127.0.0.1:8787")
    target = _parse(url, where)
    if target.is_foreign and target.name not in owned:
        raise Refused(
            f"{target.name} is not this machine: load goes to other hosts only if they are yours; "
            f"if it is, add --i-own-this-host {target.name} (then only reads are sent, unless the "
            "scenario says target.writes: allowed)"
        )
    return target


def _parse(url: str, where: str) -> Target:
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        reason = "expected name:port after user and password" if "@" in url else error
        raise Refused(f"{where} {_shown(url)}: {reason}") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise Refused(f"{where} {_shown(url)}: expected http://name:port or https://name")
    if not _PLAIN.fullmatch(url):
        raise Refused(f"{where} {_shown(url)}: expected ASCII without spaces, ? and #")
    return Target(
        scheme=parts.scheme,
        name=parts.hostname,
        port=port,
        prefix=parts.path.rstrip("/"),
        addresses=_resolve(parts.hostname, port, where),
        authorization=_basic(parts.username, parts.password),
    )


def _shown(url: str) -> str:
    """A URL as a message may have it: without user and password."""
    return repr(re.sub(r"//[^/]*@", "//", url))


def _resolve(name: str, port: int, where: str) -> tuple[Address, ...]:
    try:
        found: Sequence[Any] = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{where}: {name} has no address ({error})") from None
    return tuple(dict.fromkeys(Address(int(row[0]), tuple(row[4])) for row in found))


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
