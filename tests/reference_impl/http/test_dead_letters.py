"""Dead letters over HTTP: given up, listed by pages, delivered again, and handled then."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.reference_impl.site import AUTH, EVENT, Site, is_problem, visit, visit_site

LISTED = "/api/queue/dead-letters"
REPLAYED = LISTED + "/replay"
BREAK = (
    "CREATE TRIGGER stop BEFORE INSERT ON multi_touch_attribution "
    "BEGIN SELECT RAISE(ABORT, 'stopped'); END"
)


async def settle() -> None:
    """Until nothing goes on behind the answers."""
    for _ in range(2_000):
        await asyncio.sleep(0)


async def kill(site: Site, count: int) -> None:
    """Track events whose handling fails for good."""
    site.rows(BREAK)
    for number in range(count):
        event = {**EVENT, "event_id": f"e{number}", "conversion_id": f"c{number}"}
        assert (await site.client.post("/track", json=event)).status_code == 202
    await settle()
    site.rows("DROP TRIGGER stop")


def test_what_was_given_up_comes_back() -> None:
    """After its last attempt a message is listed with all that is known; replayed, it is handled
    and gone, and what follows from it is done."""

    async def work(site: Site) -> tuple[list[Any], list[Any], int]:
        await kill(site, 3)
        listed = (await site.client.get(LISTED, headers=AUTH)).json()["dead_letters"]
        ids = [letter["id"] for letter in listed[:2]]
        replayed = await site.client.post(REPLAYED, json={"ids": ids}, headers=AUTH)
        assert (replayed.status_code, replayed.json()) == (200, {"replayed": 2})
        again = await site.client.post(REPLAYED, json={"ids": ids}, headers=AUTH)
        assert again.json() == {"replayed": 0}
        await settle()
        left = (await site.client.get(LISTED, headers=AUTH)).json()["dead_letters"]
        ((attributed,),) = site.rows(
            "SELECT count(DISTINCT conversion_id) FROM multi_touch_attribution"
        )
        return listed, left, attributed

    listed, left, attributed = visit_site(work)
    assert [letter["body"]["event_id"] for letter in listed] == ["e0", "e1", "e2"]
    assert {letter["attempts"] for letter in listed} == {4}
    assert all(letter["accepted_at"] <= letter["died_at"] for letter in listed)
    assert left == listed[2:]
    assert attributed == 2


def test_they_are_listed_by_pages() -> None:
    """Each page says where the next begins, the last one that there is none."""

    async def work(site: Site) -> list[list[str]]:
        await kill(site, 5)
        pages: list[list[str]] = []
        after: str | None = "0"
        while after is not None:
            query = {"limit": "2", "after": after}
            page = (await site.client.get(LISTED, params=query, headers=AUTH)).json()
            pages.append([letter["body"]["event_id"] for letter in page["dead_letters"]])
            after = page["after"]
        return pages

    assert visit_site(work) == [["e0", "e1"], ["e2", "e3"], ["e4"]]


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"ids": []}, {"ids": "1"}, {"ids": [1]}, {"ids": [""]}, {"ids": ["x" * 65]},
     {"ids": ["1"] * 101}, {"ids": ["1"], "all": True}],
)  # fmt: skip
def test_an_odd_replay_is_400(body: Any) -> None:
    """Nothing is delivered again by mistake."""
    answer = visit(lambda client: client.post(REPLAYED, json=body, headers=AUTH))
    assert is_problem(answer, 400)


@pytest.mark.parametrize("limit", ["0", "101", "x", "", "-1", "1.0"])
def test_an_odd_page_is_400(limit: str) -> None:
    """As for every count in a query."""
    answer = visit(lambda client: client.get(LISTED, params={"limit": limit}, headers=AUTH))
    assert is_problem(answer, 400)


def test_dead_letters_need_the_token() -> None:
    """They carry what people have done."""

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get(LISTED), await client.post(REPLAYED, json={"ids": ["1"]})]

    assert all(is_problem(answer, 401) for answer in visit(work))
