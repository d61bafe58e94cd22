"""What an answer says beside its evidence: success or not, who refused it, and which city."""

from __future__ import annotations

import re

from loadtest._client import Answer
from loadtest._messages import Message

BLOCKED = "blocked: "
"""How the reason begins when not the deployment refused but what protects it."""

_PROTECTION = (403, 429)
_HEAD_BYTES = 4096
_ERROR = re.compile(rb"\berror\s*(?:code)?:?\s*(1015|1027)\b", re.IGNORECASE)
_CITY = re.compile(r"[0-9a-f]+-([A-Z]{3})")


def failure_of(message: Message, answer: Answer, protected: bool = True) -> str | None:
    """Why the request failed, or ``None`` for success.

    ``protected`` says whether a platform may stand before the deployment. Cloudflare marks its
    challenges with ``cf-mitigated``; its rate limits answer 429 with error 1015, an exhausted free
    plan with error 1027, its firewall 403 (Cloudflare's documentation of 1xxx errors).
    """
    if protected and (reason := _protection(message, answer)):
        return BLOCKED + reason
    return None if answer.status in message.expected else f"status {answer.status}"


def city_of(answer: Answer) -> str | None:
    """The three letters of the data centre that answered, at the end of ``CF-Ray``."""
    found = _CITY.fullmatch(answer.headers.get("cf-ray", ""))
    return found[1] if found else None


def _protection(message: Message, answer: Answer) -> str | None:
    if mitigated := answer.headers.get("cf-mitigated"):
        return f"cf-mitigated {mitigated[:40]}"
    if answer.status in message.expected:
        return None
    if found := _ERROR.search(answer.body[:_HEAD_BYTES]):
        return f"error {found[1].decode()}"
    return f"status {answer.status}" if answer.status in _PROTECTION else None
