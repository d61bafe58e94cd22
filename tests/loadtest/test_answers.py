"""Who answered: the deployment, or what protects it; and from which city."""

from __future__ import annotations

import pytest

from loadtest._answers import city_of, failure_of
from loadtest._client import Answer
from loadtest._messages import Message

MESSAGE = Message("attribution", (200, 204), "GET", "/", b"")


@pytest.mark.parametrize(
    ("status", "headers", "body", "failure"),
    [
        (200, {}, b"", None),
        (204, {}, b"an error 1015 in a text of the deployment's own", None),
        (500, {}, b"", "status 500"),
        (503, {}, b"error 10155", "status 503"),
        (302, {}, b"", "status 302"),
        (403, {}, b"", "blocked: status 403"),
        (429, {}, b"", "blocked: status 429"),
        (429, {}, b"error code: 1015", "blocked: error 1015"),
        (429, {}, b"<h1>Error 1027</h1>", "blocked: error 1027"),
        (530, {}, b"x" * 5000 + b"error code: 1015", "status 530"),
        (200, {"cf-mitigated": "challenge"}, b"", "blocked: cf-mitigated challenge"),
    ],
)
def test_who_refused(
    status: int, headers: dict[str, str], body: bytes, failure: str | None
) -> None:
    """The platform's own protection is a class of its own, not an error of the deployment."""
    assert failure_of(MESSAGE, Answer(status, headers, body)) == failure


def test_a_status_that_is_expected_is_success() -> None:
    """A deployment may answer 429 by design and be tested for it."""
    limited = MESSAGE._replace(expected=(429,))
    assert failure_of(limited, Answer(429, {}, b"")) is None


def test_nothing_stands_before_our_own_server() -> None:
    """There a 429 is the system's own."""
    assert failure_of(MESSAGE, Answer(429, {}, b""), protected=False) == "status 429"


@pytest.mark.parametrize(
    ("ray", "city"),
    [
        ("8f2c0d1e2b3a4c5d-FRA", "FRA"),
        ("8f2c-fra", None),
        ("FRA", None),
        ("", None),
        ("8-FRA<", None),
    ],
)
def test_the_city_stands_at_the_end_of_the_ray(ray: str, city: str | None) -> None:
    """Three capital letters, or it is not known."""
    assert city_of(Answer(200, {"cf-ray": ray}, b"")) == city
    assert city_of(Answer(200, {}, b"")) is None
