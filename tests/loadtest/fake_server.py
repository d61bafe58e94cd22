"""A server to be load-tested: answers like ours at once, or misbehaves in one way.

``python fake_server.py [MODE]`` prints its port and serves 127.0.0.1 until it is killed. MODE is
``ok``, ``errors`` (every answer is a 500), ``die`` (exits in the middle of its 200th request),
``freeze`` (stands still once, or as ``freeze:REQUEST:SECONDS`` says), ``stall`` (takes requests and
never answers), ``slow`` (every answer takes 2 s), ``limited`` (as a platform that allows 100
requests) or ``silent`` (tells nothing in its answers, all in its statistics).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from reference_impl.profiling.hdr import Histogram

EVIDENCE = (
    b"Cache-Status: L1; hit; detail=attribution\r\nServer-Timing: d1;dur=3.5, cpu;dur=1.2\r\n"
    b"CF-Ray: 8f2c0d1e2b3a4c5d-FRA\r\n"
)
REASONS = {200: b"OK", 202: b"Accepted", 404: b"Not Found", 429: b"No", 500: b"Error"}


class Fake:
    """Counts what it gets; ``GET /seen`` tells."""

    def __init__(self, mode: str) -> None:
        self.mode, _, rest = mode.partition(":")
        request, _, seconds = (rest or "300:0.5").partition(":")
        self.freeze_at, self.freeze_s = int(request), float(seconds)
        self.requests = 0
        self.connections = 0
        self.events: list[Any] = []
        self.heads: list[str] = []
        self.handling = Histogram()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                writer.write(await self.answer(head.decode("ascii"), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, head: str, body: bytes) -> bytes:
        method, path, _ = head.split(" ", 2)
        if path == "/seen":
            seen = {"heads": self.heads, "events": self.events, "connections": self.connections}
            return _response(200, json.dumps(seen).encode())
        if path == "/api/performance/stats":
            return _response(200, self.statistics())
        if path == "/api/emulation/start":
            self.events.append(json.loads(body))
            return _response(200, b"{}")
        await self.misbehave()
        answer = self.respond(method, head, body)
        return answer.replace(EVIDENCE, b"") if self.mode == "silent" else answer

    def respond(self, method: str, head: str, body: bytes) -> bytes:
        self.heads.append(head)
        self.handling.record(20_000)
        if self.mode == "errors":
            return _response(500, b"no")
        if self.mode == "limited" and self.requests > 100:
            return _response(429, b"error code: 1015")
        if method == "POST":
            self.events.append(json.loads(body))
            return _response(202, b"{}")
        return _response(200, b"{}")

    async def misbehave(self) -> None:
        self.requests += 1
        if self.mode == "die" and self.requests == 200:
            os._exit(9)
        if self.mode == "freeze" and self.requests == self.freeze_at:
            time.sleep(self.freeze_s)
        if self.mode == "slow":
            await asyncio.sleep(2)
        if self.mode == "stall":
            await asyncio.Event().wait()

    def statistics(self) -> bytes:
        histogram = self.handling.to_json()
        data = {
            "performance": {"cache": {"by_type": {"attribution": {"l1": self.requests}}}},
            "cumulative": {"queue.handling": histogram, "d1.request": histogram, "cpu": histogram},
            "failed": {"queue.handling": 0},
            "memory_max_bytes": 30 * 2**20,
            "process_rss_bytes": 70 * 2**20,
        }
        return json.dumps({"success": True, "data": data}).encode()


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def _response(status: int, body: bytes) -> bytes:
    head = b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n" % (status, REASONS[status], len(body))
    return head + EVIDENCE + b"\r\n" + body


async def main(mode: str) -> None:
    server = await asyncio.start_server(Fake(mode).serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ok"))
