"""The whole stack in the small world: where time goes, request by request, to the microsecond."""

from __future__ import annotations

from typing import Any

import pytest

from reference_impl.isolate.worker import Worker
from reference_impl.messages import Context, Layer, Lookup, Response
from scenarios.requests import event_of
from tests.sim.small import MS, SECOND, always, scenario
from tests.sim.worlds import Deployed

CPU_US, NODE_US, CENTRAL_US, WRITE_US = 1 * MS, 2 * MS, 20 * MS, 30 * MS
SEND_US, DISPATCH_US, BATCH_US = 8 * MS, 9 * MS, 500 * MS


class Client:
    """Asks a deployment; every request has the next number."""

    def __init__(self, world: Deployed) -> None:
        self.world = world
        self.conversions = world.prepared.population.conversions
        self.number = 0

    async def look_up(self, key: int = 0, node: int = 0) -> tuple[int, list[Lookup], int]:
        """Status, look-ups, and how long it took from arrival to answer."""
        conversion_id = self.conversions[key].conversion_id

        async def call(worker: Worker, ctx: Context) -> Response:
            return await worker.attribution(ctx, conversion_id, "linear")

        return await self._ask(call, node)

    async def touch(
        self, key: int = 0, *, attributed: bool = True
    ) -> tuple[int, list[Lookup], int]:
        wall_us = self.world.runtime.wall_us()
        event = event_of(self.conversions, "t", self.number, key, attributed, wall_us)

        async def call(worker: Worker, ctx: Context) -> Response:
            return await worker.track(ctx, event)

        return await self._ask(call, 0)

    async def _ask(self, call: Any, node: int) -> tuple[int, list[Lookup], int]:
        world, number, self.number = self.world.world, self.number, self.number + 1
        started_us = self.world.runtime.now_us()
        response, evidence = await world.invoke(number, world.nodes[node], call)
        return response.status, evidence.lookups, self.world.runtime.now_us() - started_us


def layer(found: tuple[int, list[Lookup], int]) -> Layer:
    (lookup,) = found[1]
    return lookup.layer


def test_a_miss_goes_the_whole_way_and_leaves_copies() -> None:
    """CPU, central KV, D1; then L1; when that is over the node's copy; then KV from elsewhere."""
    nodes = [{"name": "fra", "share": 0.5}, {"name": "iad", "region": "enam", "share": 0.5}]
    asked = scenario(edge={"nodes": nodes}, l1={"ttl_s": 10}, data={"max_paths": 3})
    with Deployed(asked) as world:
        client = Client(world)

        async def work() -> list[tuple[Layer, int]]:
            seen = []
            for pause_s, node in ((0, 0), (1, 0), (11, 0), (1, 1), (1, 1)):
                await world.runtime.sleep(pause_s * SECOND)
                found = await client.look_up(0, node)
                seen.append((layer(found), found[2]))
            return seen

        (seen,) = world.run(work())
    miss_us = seen[0][1]
    d1_us = miss_us - CPU_US - CENTRAL_US - (3 + 12) * MS
    assert 200 < d1_us < 300  # the base, and 22 ns a step
    assert seen == [
        (Layer.MISS, miss_us),
        (Layer.L1, CPU_US),
        (Layer.KV, CPU_US + NODE_US),
        (Layer.KV, CPU_US + CENTRAL_US),
        (Layer.L1, CPU_US),
    ]


@pytest.mark.parametrize("model", ["last_click", "first_click", "linear"])
def test_caches_start_with_the_answers_of_the_stack(model: str) -> None:
    """The text prepared for a steady start is, byte for byte, what a look-up in D1 would answer."""
    load = {"attribution": {"rate_per_s": 1.0, "model": model}}
    with Deployed(scenario(workload=load)) as world:
        conversions = world.prepared.population.conversions

        async def ask(number: int) -> str:
            async def call(worker: Worker, ctx: Context) -> Response:
                return await worker.attribution(ctx, conversions[number].conversion_id, model)

            response, evidence = await world.world.invoke(number, world.world.nodes[0], call)
            assert evidence.lookups[0].layer is Layer.MISS
            return response.body

        answers = world.run(*(ask(number) for number in range(len(conversions))))
    assert answers == world.prepared.answers != []


def test_those_who_ask_together_share_one_fetch() -> None:
    """One miss and the others joined, and D1 was asked once."""
    with Deployed(scenario(data={"max_paths": 3})) as world:
        client = Client(world)
        found = world.run(*(client.look_up() for _ in range(4)))
    assert [layer(one) for one in found] == [Layer.MISS, *[Layer.JOINED] * 3]


def test_another_isolate_has_an_l1_of_its_own() -> None:
    """The next request lands in the other isolate of the node and finds the node's KV copy."""
    asked = scenario(edge={"isolates_per_node": 2}, data={"max_paths": 3})
    with Deployed(asked) as world:
        client = Client(world)

        async def work() -> list[Layer]:
            layers = []
            for _ in range(3):
                layers.append(layer(await client.look_up()))
                await world.runtime.sleep(SECOND)
            return layers

        assert world.run(work()) == [[Layer.MISS, Layer.KV, Layer.L1]]


def test_an_event_is_answered_when_committed_and_handled_in_a_batch() -> None:
    """CPU, D1 and commit before the answer; send, batch time-out and dispatch behind it."""
    with Deployed(scenario(data={"max_paths": 3})) as world:
        ((status, lookups, took_us),) = world.run(Client(world).touch())
        ((start_us, handling_us, evidence, failed),) = world.observer.batches
        (delay_us,) = world.observer.delays_us
    assert (status, lookups, failed) == (202, [], False)
    d1_us = took_us - CPU_US - (3 + 12 + 5) * MS
    assert 200 < d1_us < 600
    assert start_us == took_us + SEND_US + BATCH_US + DISPATCH_US
    assert delay_us == SEND_US + BATCH_US + DISPATCH_US + handling_us
    *handling, behind = evidence.d1
    assert [call.name for call in handling] == ["get_conversion_journey", "store_attribution"]
    assert behind.name == "processed_events"
    d1_us = sum(call.total_us for call in handling)
    assert handling_us == CPU_US + d1_us + WRITE_US


def test_a_touch_of_a_visitor_costs_the_consumer_nothing() -> None:
    """Nobody has converted, so there is nothing to bring up to date."""
    with Deployed(scenario(data={"max_paths": 3})) as world:
        world.run(Client(world).touch(attributed=False))
        ((_, handling_us, evidence, _),) = world.observer.batches
    assert (handling_us, evidence.d1) == (CPU_US, [])


def test_a_touch_changes_the_answer_without_a_miss() -> None:
    """The refreshed entry is put, not deleted: the next look-up is a hit."""
    with Deployed(scenario(l1={"ttl_s": 1}, data={"max_paths": 3}), steady=False) as world:
        client = Client(world)

        async def work() -> Layer:
            await client.look_up()
            await client.touch()
            await world.runtime.sleep(5 * SECOND)
            return layer(await client.look_up())

        assert world.run(work()) == [Layer.KV]
        # A fill, one of each of three models, the four others deleted, three sums of channels.
        assert world.world.counts()["kv.writes"] == 1 + 3 + 4 + 3


@pytest.mark.parametrize(("connections", "up_ms"), [("keep_alive", 5), ("new", 25)])
def test_a_new_connection_pays_its_round_trips_first(connections: str, up_ms: int) -> None:
    """Two round trips of 10 ms before the request itself leaves."""
    with Deployed(scenario(client={"connections": connections}, data={"max_paths": 3})) as world:
        assert world.world.network_us(0, world.world.nodes[0]) == (up_ms * MS, 5 * MS)


def test_clients_of_a_node_may_be_farther_from_it() -> None:
    """A region with a law of its own; the other one has that of all clients."""
    nodes = [
        {"name": "fra", "share": 0.5},
        {"name": "jnb", "region": "afr", "share": 0.5, "client_rtt_ms": always(80)},
    ]
    with Deployed(scenario(edge={"nodes": nodes}, data={"max_paths": 3})) as world:
        near, far = (world.world.network_us(0, node) for node in world.world.nodes)
    assert (near, far) == ((5 * MS, 5 * MS), (40 * MS, 40 * MS))


def test_serving_adds_the_client_s_network() -> None:
    """For a caller in real time, who is really there: up before, down behind."""
    with Deployed(scenario(data={"max_paths": 3})) as world:

        async def nothing(_worker: Worker, _ctx: Context) -> Response:
            return Response(200, "{}")

        world.run(world.world.serve(0, world.world.nodes[0], nothing))
        assert world.runtime.now_us() == 10 * MS + CPU_US


def test_the_consumer_runs_at_the_node_nearest_to_d1() -> None:
    """Its round trips are the short ones, wherever the event came in."""
    nodes = [
        {"name": "iad", "region": "enam", "share": 0.5},
        {"name": "fra", "region": "weur", "share": 0.5},
    ]
    with Deployed(scenario(edge={"nodes": nodes}, data={"max_paths": 3})) as world:
        ((_, _, took_us),) = world.run(Client(world).touch())
        ((_, _, evidence, _),) = world.observer.batches
    assert took_us > 78 * MS
    assert {call.round_trip_us for call in evidence.d1} == {(3 + 12) * MS}


def test_memory_is_that_of_the_fullest_isolate() -> None:
    """Three at once in one isolate, none in the other: base and three shares."""
    edge = {"isolates_per_node": 2, "base_memory_mib": 1.0, "request_memory_kib": 1024.0}
    with Deployed(scenario(edge=edge, data={"max_paths": 3})) as world:
        world.run(*(Client(world).look_up() for _ in range(3)))  # all three are number 0
        assert world.world.memory_max_bytes() == 4 * 1024 * 1024
