"""Starting the two processes of a load test: the emulated server, and Locust against it.

Locust patches the whole process that imports it, so it gets one of its own.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

READY = "listening on "
"""What the server's first line starts with; its address follows."""

STOP_TIMEOUT_S = 10

FOLDER = Path(__file__).resolve().parent


class ServerFailed(Exception):
    """The emulated server did not come up."""


class EmulatedServer:
    """Our server in a process of its own, with a token that only this run knows.

    Used as a context manager; ``url`` is its address while it runs.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.token = secrets.token_urlsafe(24)
        self.url = ""
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> EmulatedServer:
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, "EDGEKPI_TOKEN": self.token},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for Locust, which saves the record first
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(READY):
                self.url = line.removeprefix(READY).split()[0]
                return self
        self._stop()
        raise ServerFailed("the emulated server did not start; its own message is above")

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def run_locust(
    arguments: Sequence[str], environment: dict[str, str], *, shown: bool = False
) -> int:
    """Play the load test; Locust's exit code. What it prints of the result is ``shown`` or not.

    Progress and messages come on stderr as they happen. Ctrl-C reaches Locust too, which then
    saves the record; it is waited for.
    """
    command = [sys.executable, "-m", "locust", "-f", str(FOLDER), "--headless", *arguments]
    stdout = None if shown else subprocess.DEVNULL
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=stdout) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
