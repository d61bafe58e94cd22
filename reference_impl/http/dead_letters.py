"""The dead letters of the queue over HTTP: what was given up, and its way back."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from reference_impl.http.resource import Answer, answer, count_in, read_json
from reference_impl.messages import Response
from reference_impl.ports import DeadLetter, DeadLetters
from reference_impl.times import from_wall_us

MAX_LETTERS = 100
"""Of one listing and of one replay."""


class DeadLetterOffice:
    """Lists and replays; both are for holders of the token, since messages may carry events."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    async def listed(self, request: Request) -> Answer:
        """``?limit=&after=``: a page of them, the longest dead first, and where the next begins."""
        limit = count_in(request, "limit", MAX_LETTERS, MAX_LETTERS)
        try:
            found = await self._letters.dead_letters(limit, request.query_params.get("after", "0"))
        except ValueError:
            raise HTTPException(400, "after is the ID of a message") from None
        after = found[-1].id if len(found) == limit else None
        told = {"dead_letters": [_told(letter) for letter in found], "after": after}
        return answer(Response(200, json.dumps(told)))

    async def replayed(self, request: Request) -> Answer:
        """``{"ids": [...]}``: deliver them again, as if new; those that are not dead are not."""
        ids = _ids(await read_json(request))
        try:
            count = await self._letters.replay(ids)
        except ValueError:
            raise HTTPException(400, "ids are those of messages") from None
        return answer(Response(200, json.dumps({"replayed": count})))


def _ids(body: Any) -> list[str]:
    ids = body.get("ids") if isinstance(body, dict) and body.keys() == {"ids"} else None
    if isinstance(ids, list) and 1 <= len(ids) <= MAX_LETTERS:
        texts = [each for each in ids if isinstance(each, str) and 1 <= len(each) <= 64]
        if len(texts) == len(ids):
            return texts
    raise HTTPException(400, f"expected 'ids', a list of 1 to {MAX_LETTERS} texts")


def _told(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "body": letter.body,
        "attempts": letter.attempts,
        "accepted_at": from_wall_us(letter.accepted_us),
        "died_at": from_wall_us(letter.died_us),
    }
