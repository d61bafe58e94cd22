"""What only Redis has to keep: its sets, its rate of writes, and our words when it is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from reference_impl.adapters import open_kv
from reference_impl.adapters.circuit_breaker import COOL_DOWN_US
from reference_impl.adapters.redis_kv import SLACK_S, SWEEP_EVERY, RedisKV
from reference_impl.adapters.stores import CONNECTIONS
from reference_impl.ports import KVError
from tests.valkey import Valkey, running_valkey


def test_a_key_takes_one_write_in_its_spacing(valkey: Valkey) -> None:
    """From whichever process: two namespaces of one name share it, other keys do not wait."""

    async def main() -> None:
        url = f"{valkey.url}?namespace=spaced&write_spacing_s=30"
        one, other = await open_kv(url), await open_kv(url)
        await one.put("k", "v")
        for again in (other.put("k", "w"), one.delete("k")):
            with pytest.raises(KVError, match="429 Too Many Requests") as error:
                await again
            assert error.value.status == 429
        await other.put("l", "v")
        assert await one.get("k") == "v"
        await asyncio.gather(one.close(), other.close())

    asyncio.run(main())


def test_a_crowd_waits_for_its_turn(valkey: Valkey) -> None:
    """More operations at once than there are connections: none is refused, and no more are open."""

    async def main() -> int:
        kv = await open_kv(f"{valkey.url}?namespace=crowd")
        redis: Any = Redis(unix_socket_path=valkey.url.removeprefix("unix://"))
        before = len(await redis.client_list())
        crowd = range(5 * CONNECTIONS)
        await asyncio.gather(*(kv.put(f"{number}", "v") for number in crowd))
        assert set(await asyncio.gather(*(kv.get(f"{number}") for number in crowd))) == {"v"}
        opened = len(await redis.client_list()) - before
        await asyncio.gather(kv.close(), redis.aclose())
        return opened

    assert asyncio.run(main()) < CONNECTIONS


def test_ended_keys_leave_the_sets(valkey: Valkey) -> None:
    """Also of a namespace that nobody lists; a key that was written again stays."""

    async def main() -> None:
        now_s = 1_000_000.0
        redis: Any = Redis(unix_socket_path=valkey.url.removeprefix("unix://"))
        kv = RedisKV(redis, namespace="swept", now_s=lambda: now_s)
        for number in range(SWEEP_EVERY - 2):
            await kv.put(f"{number}", "v", expiration_ttl=60)
        now_s += 60 + SLACK_S + 1
        await kv.put("0", "again", expiration_ttl=60)
        for number in range(1, SWEEP_EVERY - 2):
            await redis.delete(f"swept:entry:{number}")  # as Redis does when its time has come
        await kv.put("new", "v")
        assert await redis.zcard("swept:keys") == 2
        assert await redis.zcard("swept:ends") == 1
        assert [key.name for key in (await kv.list()).keys] == ["0", "new"]
        assert 0 < await redis.ttl("swept:entry:0") <= 60 + SLACK_S
        await kv.close()

    asyncio.run(main())


def test_a_listing_does_not_drop_what_was_written_meanwhile(valkey: Valkey) -> None:
    """An entry that Redis has dropped leaves the sets, unless it is there again by then."""

    async def main() -> None:
        redis: Any = Redis(unix_socket_path=valkey.url.removeprefix("unix://"))
        kv = RedisKV(redis, namespace="raced")
        await kv.put("a", "v")
        await kv.put("b", "v")
        await redis.delete("raced:entry:a", "raced:entry:b")
        await kv.put("b", "again")
        await kv._forget([b"a", b"b"])
        assert await redis.zrange("raced:keys", 0, -1) == [b"a", b"b"]
        assert [key.name for key in (await kv.list()).keys] == ["b"]
        assert await redis.zrange("raced:keys", 0, -1) == [b"b"]
        await kv.close()

    asyncio.run(main())


def test_a_server_that_is_gone_is_a_kv_error() -> None:
    """Each operation fails with 503 and without a secret, the sixth by the open circuit; once it
    is back and the cool-down over, all goes on."""

    async def main() -> None:
        now_us = 0
        with running_valkey() as server:
            kv = await open_kv(server.url, now_us=lambda: now_us)
            await kv.put("k", "v")
            server.kill()
            for operation in (
                kv.get("k"), kv.get(["k"]), kv.put("k", "v"), kv.delete("k"), kv.list(),
            ):  # fmt: skip
                with pytest.raises(KVError, match=r"503 .*\(ConnectionError\)") as error:
                    await operation
                assert error.value.status == 503
            server.start()
            with pytest.raises(KVError, match=r"503 .*\(circuit open\)"):
                await kv.get("k")
            now_us += COOL_DOWN_US
            assert await kv.get("k") is None
            await kv.put("k", "v")
            assert await kv.get("k") == "v"
            await kv.close()

    asyncio.run(main())
