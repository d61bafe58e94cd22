"""Paths of a site, looked up whole or by their beginning, and what an endpoint's error becomes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request

from reference_impl.http.paths import Paths
from reference_impl.http.resource import Answer, Resource


def resource(name: str) -> Resource:
    """Answers its name and the parameter it was given."""

    async def endpoint(request: Request) -> Answer:
        return Answer(200, json.dumps([name, request.path_params]).encode(), [])

    return Resource({"GET": endpoint})


def ask(paths: Paths, path: str, sent: list[Any] | None = None) -> tuple[int, Any]:
    """Status and decoded body; every message of the answer goes into ``sent``."""
    messages: list[Any] = [] if sent is None else sent

    async def receive() -> Any:
        raise AssertionError("a GET has no body to read")

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    asyncio.run(paths(scope, receive, send))
    start, body = messages
    return start["status"], json.loads(body["body"])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a", ["a", {}]),
        ("/a/b", ["named", {}]),
        ("/a/c", ["below", {"id": "c"}]),
        ("/a/c/d/", ["below", {"id": "c/d/"}]),
        ("/a/", ["below", {"id": ""}]),
        ("/a/{id}", ["below", {"id": "{id}"}]),
    ],
)
def test_a_whole_path_goes_before_a_beginning(path: str, found: list[Any]) -> None:
    """Whatever the order in which they were given."""
    names = {"/a/{id}": "below", "/a": "a", "/a/b": "named"}
    paths = Paths({path: resource(name) for path, name in names.items()})
    assert ask(paths, path) == (200, found)


@pytest.mark.parametrize("path", ["", "/", "/A", "/b", "a", "/ab"])
def test_any_other_path_is_404(path: str) -> None:
    """And its answer says which it was."""
    status, problem = ask(Paths({"/a": resource("a"), "/a/{id}": resource("below")}), path)
    assert (status, problem["detail"]) == (404, f"there is nothing at {path}")


def test_an_error_nobody_foresaw_is_500_and_told_to_the_server() -> None:
    """The client learns nothing of it."""

    async def endpoint(_request: Request) -> Answer:
        raise ArithmeticError("a secret")

    sent: list[Any] = []
    with pytest.raises(ArithmeticError):
        ask(Paths({"/a": Resource({"GET": endpoint})}), "/a", sent)
    start, body = sent
    assert start["status"] == 500
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert b"secret" not in body["body"]
