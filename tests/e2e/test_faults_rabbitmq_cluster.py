"""A real RabbitMQ cluster of two nodes, of which one is killed; RABBITMQ_ADDR names both."""

import asyncio

import pytest

from tests.support.amqp import publishing
from tests.support.amqp_consumer import running
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_MIRRORED = '{"ha-mode": "all", "ha-sync-mode": "automatic"}'
APPLIED = 'media_cache_invalidations_total{source="event"}'


@pytest.mark.timeout(300)  # two nodes start, and one of them again
async def test_the_other_node_goes_on_where_queues_are_mirrored_and_is_waited_for_where_not(redis: RedisServer) -> None:
    async with RabbitServer() as first, RabbitServer(beside=first) as second, FakeMediaServer() as upstream:
        assert second.node in await first.eval("rabbit_nodes:all_running().")
        await first.ctl("set_policy", "mirrored", "^api-gateway", _MIRRORED)
        addr = f"{first.url()},{second.url()}"
        settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": addr}
        async with (
            ProxyProcess(**settings) as proxy,
            Gateway(proxy.addr) as gateway,
            running("", urls=(first.url(), second.url())) as unmirrored,
        ):
            await unmirrored.settled()
            await until(lambda: _consumes(proxy), "the proxy's consumer")
            await gateway.read()
            await until(lambda: _in_sync(first), "the mirrors to be in sync")
            before = await proxy.metric(APPLIED)
            first.kill()
            await proxy.logged("RabbitMQ is back")
            new = upstream.media.add("User", 1)
            async with publishing(second.url()) as publisher:
                await publisher.event(1)

            async def applied() -> bool:
                return await proxy.metric(APPLIED) > before

            await until(applied, "an event by way of the other node")
            assert (await gateway.read()).uuids == [new.uuid]
            # The queue of the other consumer was on the node that is gone: events to it are lost until it is back.
            await until(lambda: "home node" in unmirrored.consumer.state.reason, "the reason")
            assert len(unmirrored.cache.flushes) == 1
            await first.start()
            await unmirrored.cache.flushed(2)
            async with publishing(second.url()) as publisher:
                await asyncio.gather(publisher.event(2), unmirrored.cache.applied(2))


async def _consumes(proxy: ProxyProcess) -> bool:
    """And the flush that a first start owes is done, and counted."""
    return await proxy.metric("media_cache_invalidations_pending") == 0 and await proxy.metric(APPLIED) == 1


async def _in_sync(node: RabbitServer) -> bool:
    told = await node.ctl("list_queues", "name", "synchronised_slave_pids")
    ours = [line for line in told.splitlines() if line.startswith("api-gateway")]
    return len(ours) == 2 and all("<" in line for line in ours)
