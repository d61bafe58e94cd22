"""An ideal open client: a connection of its own for each request, sent when due, nothing shared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence


def latencies_us(port: int, intended_us: Sequence[int]) -> list[int]:
    """Play GET requests at these instants; each latency from its instant to the whole answer."""
    return asyncio.run(_play(port, intended_us))


async def _play(port: int, intended_us: Sequence[int]) -> list[int]:
    zero_ns = time.perf_counter_ns() + 100_000_000
    return await asyncio.gather(*(_ask(port, zero_ns + us * 1000) for us in intended_us))


async def _ask(port: int, due_ns: int) -> int:
    while (left_ns := due_ns - time.perf_counter_ns()) > 0:
        await asyncio.sleep(left_ns / 1e9)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /ideal HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n{}")
    latency_us = (time.perf_counter_ns() - due_ns) // 1000
    writer.close()
    return latency_us
