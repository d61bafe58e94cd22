"""A deployment that is not ours: other paths, a signed form, its own IDs, and no evidence.

``python other_server.py`` prints its port and serves 127.0.0.1 until it is killed:

- ``GET /v1/paths/<order>`` with ``X-Key: k3y`` answers 200 for the orders ``order-0`` to
  ``order-99`` and 404 for others;
- ``POST /collect`` takes a form whose ``X-Signature`` is the HMAC-SHA256 of ``X-Time``, a dot and
  the body, under the key ``s3cret``, and answers 204;
- ``GET /moved`` redirects to ``/v1/paths/order-1``;
- ``GET /seen`` tells all request heads and forms so far.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from urllib.parse import parse_qs

KEY = b"s3cret"
IDS = [f"order-{number}" for number in range(100)]

heads: list[str] = []
forms: list[dict[str, list[str]]] = []


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            writer.write(answer(first, headers, body, head))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def answer(first: str, headers: dict[str, str], body: bytes, head: str) -> bytes:
    method, path, _ = first.split(" ")
    if path == "/seen":
        return response(200, json.dumps({"heads": heads, "forms": forms}).encode())
    heads.append(head)
    if path == "/moved":
        return b"HTTP/1.1 302 F\r\nLocation: /v1/paths/order-1\r\nContent-Length: 0\r\n\r\n"
    if (method, path) == ("POST", "/collect"):
        signed = headers.get("x-time", "").encode() + b"." + body
        if headers.get("x-signature") != hmac.new(KEY, signed, hashlib.sha256).hexdigest():
            return response(401, b"")
        forms.append(parse_qs(body.decode()))
        return response(204, b"")
    if headers.get("x-key") != "k3y":
        return response(401, b"")
    return response(200 if path.removeprefix("/v1/paths/") in IDS else 404, b"{}")


def response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
