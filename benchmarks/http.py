"""The server over HTTP beside a bare handler of the same framework on the same server.

wrk (the Debian package) keeps 16 connections busy: a warm attribution against a handler that
answers a text of the same length, and a new event against one that reads its body and answers.
The two servers are processes of their own and take turns. Run ``python -m benchmarks.http
[ROUNDS]``, or ``python -m benchmarks.http memory [REQUESTS]`` for what the server's process holds
after each tenth of a million requests, one in ten an event; its database is a file then, since
what is stored in memory is no leak.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.rounds import compare, table
from reference_impl.adapters.server import KEEP_ALIVE_S, listen
from scenarios.journeys import load_population
from scenarios.loader import load

SECONDS = 3
MANY = 1_000_000
STEPS = 10
SCENARIO = "steady/baseline"
SERVE = ["edgekpi", "serve", SCENARIO, "--port", "0", "--set", "ingest.rate_per_client_per_s=0"]
EVENT = (
    r"""'{"user_id":"u' .. n % 1000 .. '","event_id":"' .. n .. '","event_name":"touch",'"""
    r""" .. '"utm_source":"email","event_timestamp":"2026-01-31T12:00:00.000Z"}'"""
)
SCRIPT = """
local n = %d
function request()
  n = n + 1
  if n %% %d == 0 then
    return wrk.format("POST", "%s", {["Content-Type"] = "application/json"}, %s)
  end
  return wrk.format("GET", "%s")
end
"""
"""From a number on, every so many requests an event to one path, else a look-up of another."""


def main() -> None:
    """Print the two tables, or the memory."""
    command, *rest = sys.argv[1:] or ["7"]
    if command != "bare" and shutil.which("wrk") is None:
        sys.exit("wrk is not installed (Debian package wrk): nothing was measured")
    if command == "bare":
        _bare(rest[0])
    elif command == "memory":
        _memory(int(rest[0]) if rest else MANY)
    else:
        _rates(int(command))


def _rates(rounds: int) -> None:
    with _server(SERVE) as (url, _process):
        look_up = url + _known()
        text = httpx.get(look_up).raise_for_status().text
        with _server(["benchmarks.http", "bare", text]) as (bare, _bare_process):
            gets = {"bare handler, GET": bare, "warm attribution": look_up}
            cases = {name: partial(_wrk, where) for name, where in gets.items()}
            print(table(compare(cases, rounds), "requests/s"), end="\n\n")
            posts = {"bare handler, POST": (bare, "/"), "/track, new events": (url, "/track")}
            events = {name: _Events(*where) for name, where in posts.items()}
            print(table(compare(events, rounds), "requests/s"))


def _memory(requests: int) -> None:
    folder = tempfile.TemporaryDirectory()
    with folder as place, _server([*SERVE, "--d1", f"sqlite:{place}/d1"]) as (url, process):
        mixed = _Events(url, "/track", every=10, look_up=_known())
        print(f"{'requests':>12} {'MiB':>8}")
        done = 0
        for step in range(1, STEPS + 1):
            while done < requests * step // STEPS:
                done += round(mixed())
            print(f"{done:12,} {process.memory_info().rss / 2**20:8.1f}", flush=True)


class _Events:
    """Requests with events that have not been sent before, ``every`` so many of them one."""

    def __init__(self, url: str, path: str, every: int = 1, look_up: str = "/") -> None:
        self._url = url
        self._about = (every, path, EVENT, look_up)
        self._sent = 0

    def __call__(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "requests.lua")
            script.write_text(SCRIPT % (self._sent, *self._about))
            answered = _wrk(self._url, "-s", str(script))
        self._sent += round(answered) + 1000  # what was under way at the end counts as sent
        return answered


def _known() -> str:
    conversion = load_population(load(SCENARIO).data).conversions[0]
    return f"/api/attribution/{conversion.conversion_id}?model=linear"


def _wrk(url: str, *options: str) -> float:
    """How many requests were answered, all of them as they should be."""
    command = ["wrk", "-t1", "-c16", f"-d{SECONDS}s", *options, url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(f"requests failed:\n{told}")
    (requests,) = re.findall(r"(\d+) requests in", told)
    return float(requests)


@contextmanager
def _server(module: Sequence[str]) -> Iterator[tuple[str, psutil.Process]]:
    """A Python module as a process that says where it listens."""
    command = [sys.executable, "-m", *module]
    with subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1], psutil.Process(server.pid)
        finally:
            server.terminate()


def _bare(text: str) -> None:
    async def handler(request: Request) -> Response:
        if request.method == "POST":
            await request.body()
        return Response(text, media_type="application/json")

    app = Starlette(routes=[Route("/", handler, methods=["GET", "POST"])])
    listening = listen("127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=KEEP_ALIVE_S
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
