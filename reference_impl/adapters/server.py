"""Serving an ASGI application on this machine with uvicorn."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

KEEP_ALIVE_S = 75


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def serve(make_app: Callable[[], Starlette], listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM. ``make_app`` is called inside the running event loop.

    What exists at the start is taken out of the garbage collector's sight: its pauses of several
    milliseconds would be charged to whichever request happens to run.
    """
    asyncio.run(_serve(make_app, listening))


async def _serve(make_app: Callable[[], Starlette], listening: socket.socket) -> None:
    config = uvicorn.Config(
        make_app(),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
    )
    gc.collect()
    gc.freeze()
    await uvicorn.Server(config).serve(sockets=[listening])
