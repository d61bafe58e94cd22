"""L2: writes within KV's rate, reads that survive KV's failures, memory that stays bounded."""

from __future__ import annotations

import pytest

from reference_impl.cache.l2 import WRITE_ATTEMPTS, L2Cache
from reference_impl.config import StackConfig
from reference_impl.ports import KVError, KVKey, KVList
from tests.reference_impl.fakes import SECOND_US, Edge, FakeKV


@pytest.fixture
def l2(edge: Edge) -> L2Cache:
    return L2Cache(edge.runtime, StackConfig())


def test_c06_g03_lives_reach_kv_in_seconds(edge: Edge, l2: L2Cache) -> None:
    """KV is given seconds, and the entry says itself when it ends."""
    edge.run(l2.fill(edge.context(), "k", "v", 300))
    assert edge.kv.puts[0].ttl_s == 300
    entry = edge.run(l2.get(edge.context(), "k"))
    assert entry is not None
    assert entry.expires_wall_us == edge.runtime.wall_us() - edge.runtime.now_us() + 300 * SECOND_US


@pytest.mark.parametrize(
    ("cache_type", "ttl_s"),
    [
        ("attribution", 3600),
        ("channelMetrics", 1800),
        ("userJourneys", 300),
        ("securityConfig", 900),
        ("lookupData", 600),
        ("other", 600),
        ("__proto__", 600),
        ("get", 600),
    ],
)
def test_c22_g03_every_type_has_its_life(cache_type: str, ttl_s: int) -> None:
    """The lives of the specification; any other name, however special, has the default's."""
    assert StackConfig().expiration_ttl_s(cache_type, negative=False) == ttl_s
    assert StackConfig().expiration_ttl_s(cache_type, negative=True) == 60


def test_c07_a_life_that_kv_refuses_is_counted(edge: Edge, l2: L2Cache) -> None:
    """A fill is behind an answer and cannot fail it: the refusal shows in the count."""
    edge.run(l2.fill(edge.context(), "k", "v", 59))
    assert (l2.write_errors, edge.kv.puts) == (1, [])


def test_two_fills_within_a_second_are_one_write(edge: Edge, l2: L2Cache) -> None:
    """KV would refuse the second; what stands there is as new."""

    async def work() -> None:
        await l2.fill(edge.context(), "k", "v1", 60)
        await l2.fill(edge.context(), "k", "v2", 60)
        await l2.fill(edge.context(), "other", "v3", 60)

    edge.run(work())
    assert [(put.key, put.text) for put in edge.kv.puts] == [("k", "v1"), ("other", "v3")]
    assert (l2.writes_skipped, edge.kv.refused) == (1, 0)


def test_refreshes_wait_for_their_turn(edge: Edge, l2: L2Cache) -> None:
    """However many at once: one write a second, none refused, the last one stands."""

    async def work() -> None:
        await edge.runtime.gather(l2.set(edge.context(), "k", f"v{i}", 60) for i in range(5))

    edge.run(work())
    assert [put.at_us for put in edge.kv.puts] == [i * SECOND_US for i in range(5)]
    assert edge.kv.text("k") == "v4"
    assert edge.kv.refused == 0


def test_another_isolate_in_the_way_is_waited_out(edge: Edge, l2: L2Cache) -> None:
    """KV's 429 for a write of somebody else: the refresh comes again a second later."""
    other = L2Cache(edge.runtime, StackConfig())

    async def work() -> None:
        await other.fill(edge.context(), "k", "theirs", 60)
        await l2.set(edge.context(), "k", "ours", 60)

    edge.run(work())
    assert edge.kv.text("k") == "ours"
    assert (l2.write_errors, edge.kv.refused) == (1, 1)


@pytest.mark.parametrize(("status", "attempts"), [(429, WRITE_ATTEMPTS), (500, 1)])
def test_a_refresh_gives_up(edge: Edge, l2: L2Cache, status: int, attempts: int) -> None:
    """A refusal for the rate is tried three times, any other failure once; then it is raised."""
    edge.kv.fail_writes = KVError("KV PUT failed", status)

    async def work() -> None:
        with pytest.raises(KVError):
            await l2.set(edge.context(), "k", "v", 60)

    edge.run(work())
    assert l2.write_errors == attempts


def test_remembered_writes_do_not_pile_up(edge: Edge, l2: L2Cache) -> None:
    """Only the writes of the last second are remembered, whatever the number of keys."""
    edge.kv.delay_us = 10_000

    async def work() -> None:
        for i in range(1_000):
            await l2.fill(edge.context(), f"k{i}", "v", 60)

    edge.run(work())
    assert len(l2._last_put_us) <= 101


class EndlessKV(FakeKV):
    """A listing that never says it is complete."""

    async def list(
        self, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> KVList:
        return KVList((KVKey(f"{prefix}{cursor}"),), False, "again")


def test_c04_c28_an_endless_listing_is_an_error(edge: Edge, l2: L2Cache) -> None:
    """A walk over too many pages says so instead of reporting a part as the whole."""
    ctx = edge.context()
    ctx.kv = EndlessKV(edge.runtime)

    async def work() -> None:
        with pytest.raises(KVError, match="longer prefix"):
            await l2.list_keys(ctx, "a")

    edge.run(work())


def test_c28_a_limit_pages_and_is_never_nothing(edge: Edge, l2: L2Cache) -> None:
    """1,500 of 2,500 keys are two pages; a limit of none is an error, and so is a long prefix."""
    ctx = edge.context()

    async def work() -> list[int]:
        for i in range(2_500):
            await edge.kv.put(f"a:{i:04}", "1")
        with pytest.raises(ValueError, match="at least"):
            await l2.list_keys(ctx, "a:", 0)
        with pytest.raises(KVError, match="512 bytes"):
            await l2.list_keys(ctx, "a" * 513)
        return [len(await l2.list_keys(ctx, "a:", limit)) for limit in (1, 1_500, 9_999, None)]

    edge.kv.delay_us = 0
    assert edge.run(work()) == [1, 1_500, 2_500, 2_500]


def test_c04_c32_bulk_deletion_keeps_to_its_keys(edge: Edge, l2: L2Cache) -> None:
    """By prefix all pages; ``clear`` all known types and nothing else; each says how many."""

    async def work() -> tuple[int, int]:
        ctx = edge.context()
        for i in range(1_200):
            await edge.kv.put(f"lookupData:{i}", "1")
        for key in ("attribution:1", "attribution:2", "theirs:1"):
            await edge.kv.put(key, "1")
        await edge.sleep_s(2)
        return await l2.invalidate_by_prefix(ctx, "attribution:"), await l2.clear(ctx)

    edge.kv.delay_us = 10
    assert edge.run(work()) == (2, 1_200)
    assert edge.run(l2.list_keys(edge.context(), "")) == ["theirs:1"]


def test_c04_a_prefix_takes_what_is_being_written(edge: Edge, l2: L2Cache) -> None:
    """A fill of this isolate that KV has not shown yet is deleted once it has landed."""

    async def work() -> int:
        filling = edge.runtime.spawn(l2.fill(edge.context(), "a:1", "old", 60))
        await edge.runtime.sleep(1)
        edge.kv.delay_us = 1_000
        deleted = await l2.invalidate_by_prefix(edge.context(), "a:")
        await filling
        return deleted

    edge.kv.delay_us = 300_000
    assert edge.run(work()) == 1
    assert edge.kv.text("a:1") is None


@pytest.mark.parametrize("status", [429, 500])
def test_c20_a_deletion_that_kv_refuses_is_told(edge: Edge, l2: L2Cache, status: int) -> None:
    """False and counted, after as many attempts as a write has."""
    edge.kv.fail_writes = KVError("KV DELETE failed", status)
    assert edge.run(l2.delete(edge.context(), "k")) is False
    stats = l2.get_stats()
    assert (stats["write_errors"], stats["deletes"]) == (WRITE_ATTEMPTS if status == 429 else 1, 0)
