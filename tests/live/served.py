"""``edgekpi`` in processes of its own, and a server of ours that may be killed."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOKEN = "t"
AUTH = {"authorization": f"Bearer {TOKEN}"}
JSON = {"content-type": "application/json"}
ANSWER_TIMEOUT_S = 20.0


def start(folder: Path, *command: str, **environment: str) -> subprocess.Popen[str]:
    """``python -m ...`` in ``folder``, which knows our sources by PYTHONPATH only."""
    given = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=given | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Served:
    """``edgekpi serve`` on a free port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = start(
            folder, "edgekpi", "serve", *arguments, "--port", "0", EDGEKPI_TOKEN=TOKEN
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, no clean-up either."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def get(self, path: str) -> str:
        """What is there; it has to be."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            status, body = self.ask(connection, "GET", path)
        assert status == 200
        return body.decode()

    def statistics(self) -> dict[str, Any]:
        """What ``/api/performance/stats`` tells."""
        data: dict[str, Any] = json.loads(self.get("/api/performance/stats"))["data"]
        return data

    @staticmethod
    def ask(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one request with the token."""
        connection.request(method, path, body, AUTH | JSON)
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Served]:
    """A server, killed in the end."""
    server = Served(folder, *arguments)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def pressing(
    server: Served, clients: int, request: Callable[[http.client.HTTPConnection], None]
) -> Iterator[None]:
    """``clients`` threads, each with a connection of its own, repeat ``request`` until the block
    ends or their connection breaks."""
    ended = threading.Event()

    def press() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_TIMEOUT_S)
        try:
            while not ended.is_set():
                request(connection)
        except (OSError, http.client.HTTPException):
            pass  # the server was killed
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
