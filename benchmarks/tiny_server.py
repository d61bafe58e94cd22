"""A server that answers everything at once, so that what is measured is the load generator.

``python -m benchmarks.tiny_server`` prints its port and serves 127.0.0.1 until it is killed.
"""

from __future__ import annotations

import asyncio

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    b"Cache-Status: L1; hit; detail=attribution\r\nServer-Timing: cpu;dur=1.2\r\n\r\n{}"
)


class Answering(asyncio.Protocol):
    """One connection; requests have no body and come one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            self._head = b""
            self._transport.write(ANSWER)


async def main() -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
