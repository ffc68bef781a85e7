"""Real events through a real broker to a proxy process: applied, none lost, the old subscriber undisturbed."""

import asyncio
import time

import aio_pika
import pytest

from tests.support.calling import Gateway, publish
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until


async def _applied(proxy: ProxyProcess, count: int) -> None:
    async def reached() -> bool:
        return await proxy.metric('media_cache_events_total{outcome="applied"}') >= count

    await until(reached, f"{count} events to be applied")


async def _connected(proxy: ProxyProcess) -> None:
    """And the flush that a first start owes is done: all queues here are new ones."""
    await proxy.logged("the whole cache was flushed")

    async def up() -> bool:
        settled = await proxy.metric("media_cache_invalidations_pending") == 0
        return settled and await proxy.metric('media_cache_dependency_up{dependency="rabbitmq"}') == 1

    await until(up, "the consumer to be connected")


@pytest.mark.usefixtures("each_transport")
async def test_an_event_makes_the_next_read_fresh(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await rabbit.vhost()
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await _connected(proxy)
            assert await gateway.x_cache() == "miss"
            await gateway.hits()
            new = upstream.media.add("user", 1)
            await publish(url, 1, model_type="USER")
            await _applied(proxy, 1)
            assert (await gateway.read()).uuids == [new.uuid]


@pytest.mark.usefixtures("each_transport")
async def test_events_sent_while_redis_hangs_are_applied_later(
    own_redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await rabbit.vhost()
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await _connected(proxy)
            for number in range(1, 21):
                await gateway.read(model_id=number)
            own_redis.freeze()
            new = {number: upstream.media.add("User", number).uuid for number in range(1, 21)}
            for number in range(1, 21):
                await publish(url, number)
            own_redis.thaw()
            await _applied(proxy, 20)
            for number in range(1, 21):
                assert (await gateway.read(model_id=number)).uuids == [new[number]]


async def test_events_sent_while_the_proxy_is_down_are_applied_at_its_start(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await rabbit.vhost()
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
    async with ProxyProcess(**settings) as proxy, Gateway(proxy.addr) as gateway:
        await _connected(proxy)
        await gateway.read()
        proxy.kill()
    new = upstream.media.add("User", 1)
    await publish(url, 1)
    async with ProxyProcess(**settings) as proxy, Gateway(proxy.addr) as gateway:
        await _applied(proxy, 1)
        assert (await gateway.read()).uuids == [new.uuid]


async def test_a_restart_of_the_broker_loses_nothing(
    redis: RedisServer, own_rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await own_rabbit.vhost()
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await _connected(proxy)
            assert [await gateway.x_cache(number) for number in (1, 1, 2, 2)] == ["miss", "hit", "miss", "hit"]
            own_rabbit.kill()
            await proxy.logged("RabbitMQ lost")
            new = upstream.media.add("User", 1)  # its event finds no broker: nobody will ever send it again
            assert await gateway.x_cache(2) == "hit"
            await own_rabbit.start()
            await proxy.logged("the whole cache was flushed", times=2)
            assert (await gateway.read()).uuids == [new.uuid]
            newer = upstream.media.add("User", 2)
            await publish(url, 2)
            await _applied(proxy, 1)
            assert (await gateway.read(model_id=2)).uuids == [newer.uuid]


async def test_with_the_broker_gone_answers_live_a_shorter_time(
    redis: RedisServer, own_rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "CACHE_TTL_WITHOUT_EVENTS": "3s"}
    async with ProxyProcess(**settings, RABBITMQ_ADDR=await own_rabbit.vhost()) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await _connected(proxy)
            assert await gateway.x_cache() == "miss"
            killing = time.monotonic()
            own_rabbit.kill()
            upstream.media.add("User", 1)  # nobody will ever tell

            async def noticed() -> bool:
                return (await gateway.read()).response.data.total == 1

            await until(noticed, "the answer from before the loss to run out")
            assert 3.0 <= time.monotonic() - killing < 20.0  # its TTL was an hour
            assert await gateway.x_cache() == "hit"  # what is fetched meanwhile is stored
            upstream.media.add("User", 1)

            async def noticed_too() -> bool:
                return (await gateway.read()).response.data.total == 2

            await until(noticed_too, "that to run out as well")
            await own_rabbit.start()
            await proxy.logged("the whole cache was flushed", times=2)
            await _connected(proxy)
            assert await gateway.x_cache(2) == "miss"

            async def long_lived() -> bool:
                keys = await redis.cli("KEYS", "media:model:*")
                return max([await redis.cli("PTTL", key) for key in keys], default=0) > 3_600_000

            await until(long_lived, "an entry with the whole TTL")


async def test_the_retired_subscriber_beside_us_takes_nothing_away(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await rabbit.vhost()
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("damar.events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue("api-gateway-media-uploaded", durable=True)
        await queue.bind(exchange, "media.event.uploaded")
        theirs: list[bytes] = []

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            theirs.append(message.body)
            await message.ack()

        await queue.consume(take)
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
            await _connected(proxy)
            await asyncio.gather(*(publish(url, number) for number in range(10)))
            await _applied(proxy, 10)
            await until(lambda: len(theirs) == 10, "the old subscriber to have them too")


async def test_malformed_events_do_no_harm(redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer) -> None:
    url = await rabbit.vhost()
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
        await _connected(proxy)
        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange("damar.events")
            for body in (b"", b"{", b"[]", b'{"data": 5}', b'{"data": "%%%"}', b"\xff" * 100, b"[" * 100_000):
                await exchange.publish(aio_pika.Message(body), routing_key="media.event.deleted")
        await publish(url, 1)
        await _applied(proxy, 1)
        assert await proxy.metric("media_cache_events_total") == 8


@pytest.mark.usefixtures("each_transport")
async def test_a_proxy_killed_between_commit_and_answer_leaves_nothing_stale(
    redis: RedisServer, upstream: FakeMediaServer
) -> None:
    """No events at all: only the write intent can keep the old answer away."""
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr}
    async with ProxyProcess(**settings) as writer, ProxyProcess(**settings) as reader:
        async with Gateway(writer.addr) as writing, Gateway(reader.addr) as reading:
            assert await reading.x_cache() == "miss"
            await reading.hits()
            gate = upstream.media.hold("UploadFile", at="request")
            upload = asyncio.create_task(writing.upload())
            await gate.reached()
            assert (await reading.read()).uuids == []  # before the commit: fetched, and not stored
            committed = upstream.media.hold("UploadFile", at="answer")
            gate.open()
            await committed.reached()
            writer.kill()
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
            assert len((await reading.read()).uuids) == 1
            committed.open()
