"""CACHE_EVENT_WINDOW: for how long after an event, and where it is long after a write, nothing is stored of a model."""

import pytest

from tests.support.calling import Gateway, publish
from tests.support.in_process import Stack
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until


async def test_an_origin_that_is_behind_leaves_no_old_answer(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_event_window=60.0)
        await process.event()
        assert [await process.x_cache() for _ in range(3)] == ["miss", "miss", "miss"]
        await process.upload(model_id=2)
        assert [await process.x_cache(model_id=2) for _ in range(3)] == ["miss", "miss", "miss"]


async def test_as_it_is_after_a_write_the_next_answer_is_stored(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.upload()
        assert [await process.x_cache() for _ in range(2)] == ["miss", "hit"]


async def test_none_at_all(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_event_window=0.0)
        await process.event()
        assert [await process.x_cache() for _ in range(2)] == ["miss", "hit"]


async def test_it_holds_for_an_invalidation_that_redis_took_late(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_event_window=60.0)
        node = process.core.store._topology.nodes()[0]  # type: ignore[union-attr]
        node.drop("cut by the test")
        await process.upload()
        await until(lambda: process.usable() and not process.core.invalidations.pending, "Redis to have it")
        assert [await process.x_cache() for _ in range(2)] == ["miss", "miss"]


@pytest.mark.usefixtures("each_transport")
async def test_it_is_a_setting(redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer) -> None:
    settings = {"RABBITMQ_ADDR": await rabbit.vhost(), "CACHE_EVENT_WINDOW": "60s"}
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, **settings) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await proxy.logged("the whole cache was flushed")
            await publish(settings["RABBITMQ_ADDR"], 1)

            async def applied() -> bool:
                return await proxy.metric('media_cache_events_total{outcome="applied"}') >= 1

            await until(applied, "the event to be applied")
            assert [await gateway.x_cache() for _ in range(3)] == ["miss", "miss", "miss"]
