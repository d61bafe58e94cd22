"""D1 on a SQLite file: one thread of its own runs everything, and commits are shared.

A commit waits for the disk. Calls that arrive while one is on its way there are run together and
committed once, so that the disk decides how long an answer takes and not how many there are.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import apsw

from reference_impl.adapters.sqlite import Command, Execution, SqliteEngine
from reference_impl.ports import D1Error, D1Result

MAX_TOGETHER = 256
"""Calls of one commit."""

MAX_WAITING = 10_000
OVERLOADED = "D1_ERROR: D1 DB is overloaded. Too many requests queued."

Outcomes = list[list[Execution] | D1Error]


class _Call(NamedTuple):
    commands: Sequence[Command]
    answer: asyncio.Future[list[D1Result]]


class FileExecutor:
    """Runs commands on the database in a file, for one event loop. See :meth:`open`."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.engine = engine
        self.users = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="d1")
        self._waiting: deque[_Call] = deque()
        self._busy = False

    async def execute(self, commands: Sequence[Command]) -> list[D1Result]:
        """The results, once they are on disk.

        Raises:
            D1Error: for a statement that fails, or when 10,000 calls are waiting already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise D1Error(OVERLOADED)
        loop = asyncio.get_running_loop()
        call = _Call(commands, loop.create_future())
        self._waiting.append(call)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next, loop)  # and with it whatever else is ready to ask now
        return await call.answer

    async def close(self) -> None:
        """Finish what was asked, and let go of the file once nobody else uses it."""
        self.users -= 1
        if self.users > 0:
            return
        _OPEN.pop(self.engine.path, None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self.engine.close()

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        calls = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_TOGETHER))]
        done = self._thread.submit(self.engine.execute_together, [call.commands for call in calls])
        done.add_done_callback(
            lambda future: loop.call_soon_threadsafe(self._settle, loop, calls, future)
        )

    def _settle(
        self, loop: asyncio.AbstractEventLoop, calls: Sequence[_Call], done: Future[Outcomes]
    ) -> None:
        if self._waiting:
            self._next(loop)
        else:
            self._busy = False
        failure = done.exception()
        outcomes = [failure] * len(calls) if failure else done.result()
        for call, outcome in zip(calls, outcomes, strict=True):
            if call.answer.done():  # cancelled
                continue
            if isinstance(outcome, list):
                call.answer.set_result([execution.result() for execution in outcome])
            else:
                call.answer.set_exception(outcome)


_OPEN: dict[str, FileExecutor] = {}
"""By path: the database and the queue of one file share its thread and its commits."""


def open_file(path: str) -> FileExecutor:
    """The executor of the file ``path``, made if it is not open yet.

    Raises:
        OSError: the file cannot be opened, or is no database.
    """
    real = os.path.realpath(path)
    executor = _OPEN.get(real)
    if executor is None:
        try:
            executor = _OPEN[real] = FileExecutor(SqliteEngine.from_file(real))
        except apsw.Error as error:
            raise OSError(f"{path}: {error}") from None
    executor.users += 1
    return executor
