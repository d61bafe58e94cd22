"""Serving an ASGI application on this machine with uvicorn."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvicorn
from starlette.types import ASGIApp

KEEP_ALIVE_S = 75
BACKLOG = 1024

MakeApp = Callable[[], AbstractAsyncContextManager[ASGIApp]]
"""Makes the application, inside the event loop that serves it, and cleans up behind it."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches off Nagle's algorithm only on sockets that name TCP as their protocol, which
    # socket.create_server does not; with it every answer waits 40 ms for a delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def serve(
    make_app: MakeApp, listening: socket.socket, ready: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called once there is something to serve.

    What exists at the start is taken out of the garbage collector's sight: its pauses of several
    milliseconds would be charged to whichever request happens to run.
    """
    asyncio.run(_serve(make_app, listening, ready))


async def _serve(make_app: MakeApp, listening: socket.socket, ready: Callable[[], None]) -> None:
    async with make_app() as app:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
        )
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        ready()
        await uvicorn.Server(config).serve(sockets=[listening])
