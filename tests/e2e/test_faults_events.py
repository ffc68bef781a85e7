"""Events under faults, a real broker and proxies as processes: each is applied, however it comes and whoever dies."""

import asyncio
import random

from tests.support.amqp import Publisher, publishing, queues
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

APPLIED = 'media_cache_invalidations_total{source="event"}'


async def _connected(proxy: ProxyProcess) -> None:
    """And the flush that a first start owes is done, and counted."""

    async def up() -> bool:
        settled = await proxy.metric("media_cache_invalidations_pending") == 0
        return settled and await proxy.metric(APPLIED) == 1

    await until(up, "the consumer to be connected", 60)


async def _empty(rabbit: RabbitServer, url: str) -> bool:
    """Nothing waits, and nothing is in anybody's hands."""
    return all(not one.ready and not one.unacknowledged for one in (await queues(rabbit, url)).values())


async def test_a_thousand_events_twice_each_and_in_any_order_while_redis_is_frozen(
    own_redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await rabbit.vhost()
    models = range(1, 501)
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
        async with Gateway(proxy.addr) as gateway, publishing(url) as publisher:
            await _connected(proxy)
            before = await proxy.metric(APPLIED)
            for number in models:
                await gateway.read(model_id=number)
            await gateway.hits(1, 250, 500)
            own_redis.freeze()
            for number in models:
                upstream.media.add("User", number)
            events = [*models, *models]
            random.Random(3).shuffle(events)  # noqa: S311 -- an order to repeat, no secret
            for at in range(0, len(events), 100):
                await asyncio.gather(*(_told(publisher, number) for number in events[at : at + 100]))
            for number in (1, 250, 500):  # callers do without Redis meanwhile
                assert (await gateway.read(model_id=number)).response.data.total == 1
            assert not await _empty(rabbit, url)
            own_redis.thaw()
            await until(lambda: _empty(rabbit, url), "every event to be acknowledged", 60)
            assert await proxy.metric(APPLIED) - before >= 1000  # some come twice: handed back while Redis took them
            for number in models:
                assert (await gateway.read(model_id=number)).response.data.total == 1


async def _told(publisher: Publisher, number: int) -> None:
    await publisher.event(number, kind="uploaded" if number % 2 else "deleted")


async def test_a_proxy_killed_between_applying_and_acknowledging_loses_nothing(
    own_redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    """The message comes again, to another process; applied twice it does no harm."""
    url = await rabbit.vhost()
    settings = {"REDIS_ADDR": own_redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr}
    async with FaultyTcp(rabbit.port) as way:
        through = url.replace(f":{rabbit.port}/", f":{way.port}/")
        async with ProxyProcess(**settings, RABBITMQ_ADDR=through) as killed, Gateway(killed.addr) as gateway:
            await _connected(killed)
            before = await killed.metric(APPLIED)
            await gateway.read()
            own_redis.freeze()
            upstream.media.add("User", 1)
            async with publishing(url) as publisher:
                await publisher.event(1)
            await until(lambda: _in_hand(rabbit, url), "the event to be in hand")
            way.stall()  # from now on nothing reaches the broker
            own_redis.thaw()

            async def applied() -> bool:
                return await killed.metric(APPLIED) - before == 1

            await until(applied, "the event to be applied")
            assert await _in_hand(rabbit, url)
            killed.kill()
        await way.refuse()
    async with ProxyProcess(**settings, RABBITMQ_ADDR=url) as other, Gateway(other.addr) as gateway:
        await until(lambda: _empty(rabbit, url), "the event to be acknowledged")
        assert await other.metric('media_cache_events_total{outcome="applied"}') == 1
        assert (await gateway.read()).response.data.total == 1


async def _in_hand(rabbit: RabbitServer, url: str) -> bool:
    return sum(one.unacknowledged for one in (await queues(rabbit, url)).values()) == 1
