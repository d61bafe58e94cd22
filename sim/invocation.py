"""One invocation of a Worker in the modelled world: its place, its draws, its own clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any

from reference_impl.cache.l1 import L1Cache
from reference_impl.messages import Evidence
from reference_impl.ports import Latch, Runtime
from sim.draws import Draws

if TYPE_CHECKING:
    from sim.edge import EdgeNode

MAX_DEBT_US = 10_000
"""The most overshoot of a sleep that the next one makes up for. A longer one is a stall of this
machine, which the measurement is meant to show."""


MAX_CONNECTIONS = 6
"""https://developers.cloudflare.com/workers/platform/limits/: connections of one invocation that
wait for their answers; a seventh waits for its turn."""


class Connections:
    """The connections of one invocation to one kind of service, first come, first served."""

    __slots__ = ("_open", "_runtime", "_waiting")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._open = 0
        self._waiting: deque[Latch] = deque()

    async def __aenter__(self) -> None:
        if self._open < MAX_CONNECTIONS:
            self._open += 1
            return
        turn = self._runtime.latch()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set:
                self._leave()
            else:
                self._waiting.remove(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._open -= 1


class Invocation:
    """The part of a Worker's context (``env`` and ``ctx``) that knows where and when it is.

    The world adds the bindings to its services.

    A real sleep ends late by up to a millisecond or so. The overshoot is carried as a debt that
    the next sleep is shortened by; in virtual time it is always zero.
    """

    __slots__ = (
        "_connections", "_d1_connections", "_debt_us", "_runtime", "d1_bookmark", "d1_uses",
        "draws", "evidence", "kv_reads", "kv_writes", "l1", "node", "number",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, draws: Draws, number: int, node: EdgeNode) -> None:
        self._runtime = runtime
        self._debt_us = 0
        self._connections: Connections | None = None
        self._d1_connections: Connections | None = None
        self.draws = draws
        self.number = number
        self.node = node
        self.evidence = Evidence()
        self.l1: L1Cache | None = None
        self.kv_reads = 0
        self.kv_writes = 0
        self.d1_uses = 0
        self.d1_bookmark: int | None = None

    @property
    def connections(self) -> Connections:
        """Those to KV and the queue."""
        if self._connections is None:
            self._connections = Connections(self._runtime)
        return self._connections

    @property
    def d1_connections(self) -> Connections:
        """Those to D1, counted apart (https://developers.cloudflare.com/d1/platform/limits/)."""
        if self._d1_connections is None:
            self._d1_connections = Connections(self._runtime)
        return self._d1_connections

    def now_us(self) -> int:
        """Now, as it would be had no sleep of this invocation ended late."""
        return self._runtime.now_us() - self._debt_us

    def wall_us(self) -> int:
        """The time of day, likewise."""
        return self._runtime.wall_us() - self._debt_us

    def sleep(self, us: int) -> Awaitable[None]:
        """Let ``us`` of modelled time pass; no event where none passes."""
        runtime = self._runtime
        if not runtime.punctual:
            return self._sleep_with_debt(us)
        return runtime.sleep(us) if us > 0 else runtime.sleep_until(0)

    async def _sleep_with_debt(self, us: int) -> None:
        runtime = self._runtime
        due_us = runtime.now_us() - self._debt_us + us
        await runtime.sleep_until(due_us)
        late_us = runtime.now_us() - due_us
        self._debt_us = late_us if late_us < MAX_DEBT_US else MAX_DEBT_US

    def wait_until(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let ``work`` go on after the answer."""
        self._runtime.spawn(work)
