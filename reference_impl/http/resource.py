"""What every endpoint of the HTTP layer has in common: methods, the token, bodies, answers."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from reference_impl.http.evidence_headers import encode
from reference_impl.messages import Evidence, Response
from reference_impl.problem import problem

MAX_BODY_BYTES = 64 * 1024
JSON_TYPES = ("application/json",)
BYTE_ORDER_MARK = "\ufeff"

ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Headers of every answer with a body."""

Endpoint = Callable[[Request], Awaitable[HttpResponse]]


class Resource:
    """One path as an ASGI application: an endpoint by method.

    It answers OPTIONS with the methods there are and any other with 405; HEAD is a GET whose body
    the server leaves out. ``headers`` go with every answer, refusals included.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], headers: Mapping[str, str] | None = None
    ) -> None:
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]
        self._headers = _raw(headers or {})
        self.allow = ", ".join(sorted([*self._endpoints, "OPTIONS"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        endpoint = self._endpoints.get(scope["method"], self._other)
        try:
            response = await endpoint(request)
        except HTTPException as error:
            response = refusal(error)
        response.raw_headers += self._headers
        await response(scope, receive, send)

    async def _other(self, request: Request) -> HttpResponse:
        if request.method == "OPTIONS":
            return HttpResponse(status_code=204, headers={"allow": self.allow})
        detail = f"{request.url.path} takes {self.allow}"
        raise HTTPException(405, detail, {"allow": self.allow})


class Guard:
    """Lets callers with the bearer token through. Without a token of its own it lets nobody."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    def protect(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for callers with the token only; it is compared in constant time."""

        async def checked(request: Request) -> HttpResponse:
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
            else or compressed, 400 for one that is no JSON.
    """
    announced = header(request, b"content-type")
    if announced is not None and announced.partition(";")[0].strip().lower() not in media_types:
        raise HTTPException(
            415, f"a body is {' or '.join(media_types)}", {"accept": media_types[0]}
        )
    if (header(request, b"content-encoding") or "identity").lower() != "identity":
        raise HTTPException(415, "a body is not compressed", {"accept-encoding": "identity"})
    try:
        return _DECODER.decode((await _read(request)).decode().removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None


async def _read(request: Request) -> bytearray:
    body = bytearray()
    too_large = HTTPException(413, f"a body may have {MAX_BODY_BYTES} bytes")
    announced = header(request, b"content-length") or ""
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise too_large
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise too_large
    except ClientDisconnect:
        raise HTTPException(400, "the body did not come to its end") from None
    return body


def answer(response: Response, evidence: Evidence | None = None) -> HttpResponse:
    """The answer of the stack as one of HTTP, with the evidence of its making."""
    answered = HttpResponse(response.body, response.status)
    answered.raw_headers += (
        _JSON if not response.headers else _raw(_JSON_HEADERS | dict(response.headers))
    )
    if evidence is not None:
        answered.raw_headers += _raw(dict(encode(evidence)))
    return answered


def refusal(error: HTTPException) -> HttpResponse:
    """The answer to a request that never reached the stack."""
    return answer(problem(error.status_code, error.detail, "", error.headers))


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


_JSON_HEADERS = {"content-type": "application/json", **ALWAYS}
_JSON = _raw(_JSON_HEADERS)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
