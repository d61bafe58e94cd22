"""Headers of the requests of a load test: a text, a secret by its name, or a signature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from scenarios.parts import Part, distinct
from scenarios.template import Loc, Place

SIGNED_FIELDS = ("method", "path", "body")
"""What a signature may cover besides: the path is as it is sent, with prefix and query."""

_RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect"}
    | {"x-edgekpi-run", "x-edgekpi-number", "x-edgekpi-node"}
)
_LIKE_A_SECRET = re.compile(r"authorization|cookie|token|secret|api-?key|passw|credential", re.I)


def matching(pattern: str, expected: str) -> AfterValidator:
    """A check that a text is ``pattern`` as a whole; ``expected`` says what that is."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"expected {expected}")

    return AfterValidator(check)


Env = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_]{0,199}", "the name of an environment variable")
]
Path = Annotated[str, matching(r"/[!\"$-~]*", "/path?query in ASCII without spaces and #")]
Text = Annotated[str, Field(max_length=10_000)]


def _header_name(name: str) -> str:
    if name.lower() in _RESERVED:
        raise ValueError(f"{name} is set by this program")
    return name


HeaderName = Annotated[
    str,
    matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "the name of a header"),
    AfterValidator(_header_name),
]


class Header(Part):
    """One header's value: a text, a secret, or a signature made for each request.

    A plain text in the scenario is short for ``{value: text}``.
    """

    value: Text | None = Field(default=None, description="a template over the plan's fields")
    env: Env | None = Field(default=None, description="the environment variable that holds it")
    hmac_sha256: Text | None = Field(
        default=None,
        description="a template, also over {method}, {path} and {body}; its HMAC-SHA256 (RFC 2104) "
        "is the value",
    )
    secret_env: Env | None = Field(
        default=None, description="the environment variable that holds the key of the HMAC"
    )
    encoding: Literal["hex", "base64"] = Field(default="hex", description="of the HMAC")
    prefix: Text = Field(default="", description="what is put before it, such as 'Bearer '")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one(self) -> Header:
        if sum(way is not None for way in (self.value, self.env, self.hmac_sha256)) != 1:
            raise ValueError("expected one of value, env and hmac_sha256")
        if (self.hmac_sha256 is None) != (self.secret_env is None):
            raise ValueError("hmac_sha256 and secret_env belong together")
        if {"\r", "\n"} & {*(self.value or ""), *self.prefix}:
            raise ValueError("a header is one line")
        return self

    @property
    def secret(self) -> str | None:
        """The environment variable that it needs."""
        return self.env or self.secret_env


def _sound(headers: dict[str, Header]) -> dict[str, Header]:
    distinct([name.lower() for name in headers])
    for name, header in headers.items():
        if header.value is not None and _LIKE_A_SECRET.search(name):
            raise ValueError(
                f"{name} looks like a secret, and this file goes into records: take it from the "
                f"environment, {name}: {{env: NAME}}"
            )
    return headers


Headers = Annotated[dict[HeaderName, Header], AfterValidator(_sound)]


class Auth(Part):
    """Authentication of every request by one header."""

    env: Env = Field(description="the environment variable that holds the token")
    header: HeaderName = Field(default="Authorization", description="where it goes")
    prefix: Text = Field(default="Bearer ", description="what is put before it")


def texts_of(loc: Loc, header: Header, fields: tuple[str, ...]) -> Iterator[Place]:
    if header.value is not None:
        yield loc, header.value, fields
    if header.hmac_sha256 is not None:
        yield (*loc, "hmac_sha256"), header.hmac_sha256, (*fields, *SIGNED_FIELDS)
