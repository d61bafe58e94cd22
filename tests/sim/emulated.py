"""The modelled world behind HTTP, on asyncio in virtual time, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from reference_impl.http.app import NODE_HEADER, NUMBER_HEADER, create_app
from scenarios.schema import Scenario
from sim.emulate import EmulatedDeployment
from sim.prepare import prepare
from tests.contracts.virtual_loop import VirtualLoop
from tests.sim.small import scenario

TOKEN = {"authorization": "Bearer secret"}
START = "/api/emulation/start"
STATISTICS = "/api/performance/stats"
NODES = [
    {"name": "fra", "share": 0.5},
    {"name": "iad", "region": "enam", "share": 0.5},
]


class Session:
    """A client of one emulated deployment."""

    def __init__(self, asked: Scenario) -> None:
        self.asked = asked
        self.prepared = prepare(asked)
        self.deployment = EmulatedDeployment(asked, self.prepared)
        app = create_app(self.deployment, "secret", self.deployment.resources())
        transport = httpx.ASGITransport(app=app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def look_up(
        self, key: int = 0, number: object = 0, node: str = "fra"
    ) -> tuple[httpx.Response, int]:
        """The answer, and how long it took in microseconds."""
        conversion_id = self.prepared.population.conversions[key].conversion_id
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        answer = await self.http.get(
            f"/api/attribution/{conversion_id}?model=linear",
            headers={NUMBER_HEADER: str(number).encode(), NODE_HEADER: node.encode()},
        )
        return answer, round((loop.time() - started_s) * 1e6)

    async def start(self, seed: object = 1, zero_in_us: object = 0) -> httpx.Response:
        body = {"seed": seed, "zero_in_us": zero_in_us}
        return await self.http.post(START, json=body, headers=TOKEN)

    async def statistics(self) -> dict[str, Any]:
        answer = await self.http.get(STATISTICS, headers=TOKEN)
        return dict(answer.json()["data"])


def play(work: Callable[[Session], Coroutine[Any, Any, None]], **parts: Any) -> None:
    """Run ``work`` against a fresh deployment of the small world, cold unless it says otherwise."""
    asked = scenario(**{"measure": {"start": "cold"}, "data": {"max_paths": 3}, **parts})

    async def main() -> None:
        session = Session(asked)
        async with session.http:
            await work(session)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
