"""What every endpoint of the HTTP layer has in common: methods, the token, bodies, answers."""

from __future__ import annotations

import hmac
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from reference_impl.http.evidence_headers import encode
from reference_impl.messages import Evidence, Response
from reference_impl.problem import problem

MAX_BODY_BYTES = 64 * 1024
JSON_TYPES = ("application/json",)

ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Headers of every answer with a body."""

Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What goes to the client: status, body, and headers with their names in lower case."""

    status: int
    body: bytes
    headers: Headers


Endpoint = Callable[[Request], Awaitable[Answer]]


class Resource:
    """One path as an ASGI application: an endpoint by method.

    It answers OPTIONS with the methods there are and any other with 405; HEAD is a GET whose body
    the server leaves out. ``headers`` go with every answer, refusals included. An error that
    nobody foresaw is answered with 500 and raised on to the server, which logs it.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], headers: Mapping[str, str] | None = None
    ) -> None:
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]
        self._headers = raw((headers or {}).items())
        self.allow = ", ".join(sorted([*self._endpoints, "OPTIONS"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"], self._other)
        try:
            answered = await endpoint(Request(scope, receive))
        except HTTPException as error:
            answered = refusal(error)
        except Exception:
            await deliver(_FAILED, send)
            raise
        answered.headers.extend(self._headers)
        await deliver(answered, send)

    async def _other(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return Answer(204, b"", raw([("allow", self.allow)]))
        detail = f"{request.url.path} takes {self.allow}"
        raise HTTPException(405, detail, {"allow": self.allow})


class Guard:
    """Lets callers with the bearer token through. Without a token of its own it lets nobody."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    def protect(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for callers with the token only; it is compared in constant time."""

        async def checked(request: Request) -> Answer:
            scheme, _, given = (header(request, b"authorization") or "").partition(" ")
            expected = self._token
            known = expected is not None and hmac.compare_digest(given.encode("latin-1"), expected)
            if not known or scheme.lower() != "bearer":
                detail = (
                    "a bearer token is needed" if expected else "this server was given no token"
                )
                raise HTTPException(401, detail, {"www-authenticate": "Bearer"})
            return await endpoint(request)

        return checked

    def resource(self, endpoints: Mapping[str, Endpoint]) -> Resource:
        """A resource all of whose ``endpoints`` are protected."""
        return Resource({method: self.protect(each) for method, each in endpoints.items()})


def header(request: Request, name: bytes) -> str | None:
    """The first header of that name, which is in lower case; Starlette's own way to it takes four
    times as long, and every event asks for five."""
    for key, value in request.scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def count_in(request: Request, name: str, default: int, most: int) -> int:
    """A whole number from 1 to ``most`` in the query.

    Raises:
        HTTPException: 400 for anything else.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise HTTPException(400, f"{name} is a whole number from 1 to {most}")
    return int(text)


async def read_json(request: Request, media_types: tuple[str, ...] = JSON_TYPES) -> Any:
    """The decoded JSON body.

    Raises:
        HTTPException: 413 for a body over 64 KiB, 415 for one that is announced as something
            else or compressed, 400 for one that is no JSON, half a surrogate pair included.
    """
    announced = header(request, b"content-type")
    if announced is not None and announced.partition(";")[0].strip().lower() not in media_types:
        raise HTTPException(
            415, f"a body is {' or '.join(media_types)}", {"accept": media_types[0]}
        )
    if (header(request, b"content-encoding") or "identity").lower() != "identity":
        raise HTTPException(415, "a body is not compressed", {"accept-encoding": "identity"})
    try:
        return from_json((await _read(request)).removeprefix(BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None


async def _read(request: Request) -> bytearray:
    announced = header(request, b"content-length") or ""
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the body did not come to its end")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return body


def _too_large() -> HTTPException:
    return HTTPException(413, f"a body may have {MAX_BODY_BYTES} bytes")


def answer(response: Response, evidence: Evidence | None = None) -> Answer:
    """The answer of the stack as one of HTTP, with the evidence of its making."""
    body = response.body.encode()
    headers = [(b"content-length", b"%d" % len(body)), *_ALWAYS]
    if response.headers:
        given = dict(raw(response.headers))
        headers += given.items() if b"content-type" in given else [_JSON, *given.items()]
    else:
        headers.append(_JSON)
    if evidence is not None:
        headers += raw(encode(evidence))
    return Answer(response.status, body, headers)


def refusal(error: HTTPException) -> Answer:
    """The answer to a request that never reached the stack."""
    return answer(problem(error.status_code, error.detail, "", error.headers))


async def deliver(answered: Answer, send: Send) -> None:
    """Hand an answer to the server."""
    status, body, headers = answered
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def raw(headers: Iterable[tuple[str, str]]) -> Headers:
    """Headers as they go over the wire."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


_ALWAYS = raw(ALWAYS.items())
_JSON = (b"content-type", b"application/json")
_FAILED = refusal(HTTPException(500, "an error that nobody foresaw; the server's log has it"))
