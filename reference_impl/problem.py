"""Errors as problem details (RFC 9457): one form for every endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from reference_impl.messages import Response

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_S = 1
"""What a caller waits after a 503 (assumption: an overloaded D1 has worked off its queue)."""


def problem(
    status: int, detail: str, route: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """An error as an answer; ``detail`` is for people. ``type`` is left out: ``about:blank``."""
    body = json.dumps({"title": HTTPStatus(status).phrase, "status": status, "detail": detail})
    return Response(status, body, route, (("content-type", MEDIA_TYPE), *(headers or {}).items()))


def unavailable(detail: str, route: str) -> Response:
    """503: a service behind the stack failed, and it is worth asking again soon."""
    return problem(503, detail, route, {"retry-after": str(RETRY_AFTER_S)})
