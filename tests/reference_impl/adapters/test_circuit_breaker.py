"""The circuit breaker in virtual time, and what it does for those who look things up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from reference_impl.adapters.circuit_breaker import (
    COOL_DOWN_US,
    FAILURES,
    CircuitBreaker,
    CircuitOpen,
    CircuitState,
)
from reference_impl.adapters.redis_kv import RedisKV
from reference_impl.adapters.stores import ANSWER_TIMEOUT_S
from reference_impl.cache.manager import CacheManager
from reference_impl.config import StackConfig
from reference_impl.ports import KVError, KVTypeError
from sim.bridge import SimRuntime
from tests.reference_impl.fakes import Edge
from tests.reference_impl.looking import TYPE, Source, look

TOOK_US = 100_000
TIMEOUT_US = round(ANSWER_TIMEOUT_S * 1e6)


class Down(Exception):
    """The service does not answer."""


class Refused(Exception):
    """The service was not even asked, or said no."""


class Guarded:
    """A service that takes its time and then ends as ``ends`` says, behind a circuit."""

    def __init__(self, runtime: SimRuntime) -> None:
        self.runtime = runtime
        self.circuit = CircuitBreaker(runtime.now_us, (Down,))
        self.ends: Exception | None = None
        self.begun = 0

    async def ask(self) -> str:
        """How a call ends: ``ok``, ``down``, ``refused``, or the state that let it not through."""
        try:
            return await self.circuit.call(self._work)
        except CircuitOpen as error:
            return error.state
        except (Down, Refused) as error:
            return type(error).__name__.lower()

    async def succeed_in(self, us: int) -> None:
        """A call that is under way for so long."""
        await self.circuit.call(lambda: self.runtime.sleep(us))

    def state(self) -> CircuitState:
        """That of the circuit, as it is now."""
        return self.circuit.state

    async def _work(self) -> str:
        self.begun += 1
        ends = self.ends  # as the service is when it is asked
        await self.runtime.sleep(TOOK_US)
        if ends is not None:
            raise ends
        return "ok"

    async def fail(self, times: int) -> None:
        """So many failures one after the other; then the service is well."""
        self.ends = Down()
        for _ in range(times):
            assert await self.ask() == "down"
        self.ends = None


Work = Callable[[Guarded], Coroutine[Any, Any, None]]


@pytest.fixture
def play(edge: Edge) -> Callable[[Work], None]:
    """Runs a story to its end."""
    return lambda work: edge.run(work(Guarded(edge.runtime)))


def test_failures_in_a_row_open_it(play: Callable[[Work], None]) -> None:
    """One success between them, and the count begins anew."""

    async def work(service: Guarded) -> None:
        await service.fail(FAILURES - 1)
        assert await service.ask() == "ok"
        await service.fail(FAILURES - 1)
        assert service.state() == CircuitState.CLOSED
        await service.fail(1)
        assert service.state() == CircuitState.OPEN

    play(work)


def test_while_open_it_fails_at_once(play: Callable[[Work], None]) -> None:
    """Until the last microsecond of the cool-down: nothing reaches the service, no time passes."""

    async def work(service: Guarded) -> None:
        await service.fail(FAILURES)
        opened_us = service.runtime.now_us()
        for at_us in (0, COOL_DOWN_US // 2, COOL_DOWN_US - 1):
            await service.runtime.sleep_until(opened_us + at_us)
            assert await service.ask() == "open"
            assert service.runtime.now_us() == opened_us + at_us
        assert service.begun == FAILURES
        await service.runtime.sleep(1)
        assert await service.ask() == "ok"

    play(work)


def test_one_probe_of_a_crowd_closes_it(play: Callable[[Work], None]) -> None:
    """After the cool-down exactly one of many callers is let through; its success lets all in."""

    async def work(service: Guarded) -> None:
        await service.fail(FAILURES)
        await service.runtime.sleep(COOL_DOWN_US)
        crowd = await service.runtime.gather([service.ask() for _ in range(20)])
        assert crowd == ["ok"] + ["half-open"] * 19
        assert service.state() == CircuitState.CLOSED
        assert set(await service.runtime.gather([service.ask() for _ in range(20)])) == {"ok"}
        await service.fail(FAILURES - 1)
        assert service.state() == CircuitState.CLOSED

    play(work)


def test_a_probe_that_fails_opens_it_again(play: Callable[[Work], None]) -> None:
    """One failure is enough then, and the cool-down counts from its end."""

    async def work(service: Guarded) -> None:
        await service.fail(FAILURES)
        for _ in range(3):
            await service.runtime.sleep(COOL_DOWN_US)
            await service.fail(1)
            await service.runtime.sleep(COOL_DOWN_US - 1)
            assert await service.ask() == "open"
            await service.runtime.sleep(1)
            await service.fail(1)
        assert service.begun == FAILURES + 6

    play(work)


def test_a_probe_without_news_leaves_it_to_the_next(play: Callable[[Work], None]) -> None:
    """Cancelled, or refused before anything travelled: no cool-down begins, nothing is closed."""

    async def work(service: Guarded) -> None:
        await service.fail(FAILURES)
        await service.runtime.sleep(COOL_DOWN_US)
        probe = service.runtime.spawn(service.ask())
        await service.runtime.sleep(TOOK_US // 2)
        assert await service.ask() == "half-open"
        probe.cancel()
        await service.runtime.sleep(1)
        assert service.state() == CircuitState.OPEN
        service.ends = Refused()
        assert await service.ask() == "refused"
        assert service.state() == CircuitState.OPEN
        service.ends = None
        assert await service.ask() == "ok"
        assert service.state() == CircuitState.CLOSED

    play(work)


def test_what_tells_nothing_does_not_count(play: Callable[[Work], None]) -> None:
    """Refusals and cancellations alone never open it; between failures they break no row."""

    async def work(service: Guarded) -> None:
        for _ in range(2 * FAILURES):
            service.ends = Refused()
            assert await service.ask() == "refused"
            service.ends = Down()
            job = service.runtime.spawn(service.ask())
            await service.runtime.sleep(1)
            job.cancel()
        await service.fail(FAILURES - 1)
        service.ends = Refused()
        assert await service.ask() == "refused"
        assert service.state() == CircuitState.CLOSED
        await service.fail(1)
        assert service.state() == CircuitState.OPEN

    play(work)


def test_old_news_changes_nothing(play: Callable[[Work], None]) -> None:
    """A crowd fails together: what fails behind the opening does not prolong it. What was let
    through before the opening and succeeds does not close it, open or half-open."""

    async def work(service: Guarded) -> None:
        runtime = service.runtime
        old = [runtime.spawn(service.succeed_in(TOOK_US + us)) for us in (1, COOL_DOWN_US + 1)]
        service.ends = Down()
        first = [runtime.spawn(service.ask()) for _ in range(FAILURES)]
        await runtime.sleep(TOOK_US // 2)
        later = [runtime.spawn(service.ask()) for _ in range(3)]
        for job in first:
            await job
        opened_us = runtime.now_us()
        await old[0]
        assert service.state() == CircuitState.OPEN
        assert [await job for job in later] == ["down"] * 3
        await runtime.sleep_until(opened_us + COOL_DOWN_US)
        probe = runtime.spawn(service.ask())
        await old[1]
        assert service.state() == CircuitState.HALF_OPEN
        assert await service.ask() == "half-open"
        assert await probe == "down"

    play(work)


# --------------------------------------------------------------------------- before Redis


class HungRedis:
    """Answers nothing: every command ends by its time-out, as with the client's own options. Once
    ``answer`` is set it ends so, at once."""

    def __init__(self, runtime: SimRuntime) -> None:
        self._runtime = runtime
        self.answer: Callable[[], Any] | None = None
        self.asked = 0

    async def hmget(self, *_arguments: object, **_options: object) -> Any:
        self.asked += 1
        if self.answer is None:
            await self._runtime.sleep(TIMEOUT_US)
            raise RedisTimeoutError
        return self.answer()

    execute = set = hmget

    def pipeline(self, **_options: object) -> HungRedis:
        return self

    async def __aenter__(self) -> HungRedis:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    def delete(self, *_arguments: object, **_options: object) -> None:
        """Queues a command, as the others do."""

    hset = zadd = zrem = expire = delete


def kv_over(redis: HungRedis, runtime: SimRuntime, **options: Any) -> RedisKV:
    client: Any = redis
    return RedisKV(client, now_us=runtime.now_us, **options)


async def told(operation: Awaitable[object]) -> str:
    """The error that KV tells."""
    with pytest.raises(KVError) as error:
        await operation
    assert error.value.status == 503
    return str(error.value).removeprefix("KV GET failed: 503 the store does not answer ")


def test_what_look_ups_pay_while_redis_hangs(edge: Edge) -> None:
    """One after the other, each with a write behind it: three time-outs, then none until a probe.
    Every one is answered by the source, and counted as a KV operation that failed."""
    redis = HungRedis(edge.runtime)
    cache, source = CacheManager(edge.runtime, StackConfig()), Source(edge)
    kv = kv_over(redis, edge.runtime)
    evidence = []

    async def pays_us(number: int) -> int:
        ctx, began_us = edge.context(), edge.runtime.now_us()
        ctx.kv = kv
        evidence.append(ctx.evidence)
        await look(cache, source, f"k{number}", ctx)
        return edge.runtime.now_us() - began_us - source.delay_us

    async def work() -> list[int]:
        paid_us = [await pays_us(number) for number in range(100)]
        await edge.runtime.sleep(COOL_DOWN_US)
        return paid_us + [await pays_us(number) for number in range(100, 200)]

    assert edge.run(work()) == [TIMEOUT_US] * 3 + [0] * 97 + [TIMEOUT_US] + [0] * 99
    assert (cache.l2.read_errors, cache.l2.write_errors) == (200, 200)
    calls = [call for each in evidence for call in each.kv]
    assert len(calls) == 400
    assert all(call.failed for call in calls)
    assert redis.asked == FAILURES + 1


def test_a_look_up_of_two_keys_pays_twice_at_most(edge: Edge) -> None:
    """One key's source is another look-up, as for ``data_driven``: both wait, until it is open."""
    cache, source = CacheManager(edge.runtime, StackConfig()), Source(edge)
    kv = kv_over(HungRedis(edge.runtime), edge.runtime)

    async def pays_us(number: int) -> int:
        ctx, began_us = edge.context(), edge.runtime.now_us()
        ctx.kv = kv

        async def fetch() -> str | None:
            return await cache.get(ctx, TYPE, f"inner{number}", source.fetch("k"))

        await cache.get(ctx, TYPE, f"outer{number}", fetch)
        return edge.runtime.now_us() - began_us - source.delay_us

    async def work() -> list[int]:
        return [await pays_us(number) for number in range(100)]

    first, second, *others = edge.run(work())
    assert first == 2 * TIMEOUT_US
    assert second in (TIMEOUT_US, 2 * TIMEOUT_US)  # it opens at the instant of the second's first
    assert set(others) == {0}


def test_arguments_are_refused_in_kvs_words_whatever_the_circuit(edge: Edge) -> None:
    """They count as no failure; neither does an error of Redis's own, nor a write too soon."""

    async def work() -> None:
        redis = HungRedis(edge.runtime)
        kv = kv_over(redis, edge.runtime, write_spacing_s=1)

        async def refused() -> None:
            for operation in (kv.put("", "v"), kv.delete(""), kv.get(""), kv.list(limit=1001)):
                with pytest.raises(KVError) as error:
                    await operation
                assert isinstance(error.value, KVTypeError) or error.value.status == 400

        def full() -> None:
            raise ResponseError("OOM command not allowed")

        for _ in range(FAILURES):
            await refused()
            redis.answer = lambda: None  # the turn to write is another's
            with pytest.raises(KVError, match="429"):
                await kv.put("k", "v")
            redis.answer = full
            assert await told(kv.get("k")) == "(ResponseError)"
        assert kv.circuit is not None
        assert kv.circuit.state == CircuitState.CLOSED
        redis.answer = None
        for _ in range(FAILURES):
            assert await told(kv.get("k")) == "(TimeoutError)"
        assert await told(kv.get("k")) == "(circuit open)"
        await refused()

    edge.run(work())
