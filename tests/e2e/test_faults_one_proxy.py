"""Two proxies of which a fault hits one: what it holds goes to the other, which serves nothing outdated for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.amqp import publishing, queues
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

MODELS = range(1, 21)
WITHIN = 2.0
"""Seconds after the loss in which events reach the other, and some for a busy machine."""
BUSY = 3.0


@asynccontextmanager
async def _two(first: dict[str, str], settings: dict[str, str]) -> AsyncIterator[tuple[ProxyProcess, ProxyProcess]]:
    async with ProxyProcess(**{**settings, **first}) as one, ProxyProcess(**settings) as other:
        await until(lambda: _consumes(one), "a consumer", 60)
        await until(lambda: _consumes(other), "the other consumer", 60)
        yield one, other


async def _consumes(proxy: ProxyProcess) -> bool:
    up = await proxy.metric('media_cache_dependency_up{dependency="rabbitmq"}') == 1
    return up and await proxy.metric("media_cache_invalidations_pending") == 0


async def _stored(gateway: Gateway) -> None:
    """Every model is stored, and is without files."""
    await gateway.hits(*MODELS)


async def _true(gateway: Gateway) -> bool:
    """Every model has the file that it was given meanwhile."""
    return all([(await gateway.read(model_id=number)).response.data.total == 1 for number in MODELS])


async def _changed(upstream: FakeMediaServer, url: str) -> None:
    """Every model gets a file past the proxies, and its event is sent."""
    async with publishing(url) as publisher:
        for number in MODELS:
            upstream.media.add("User", number)
            await publisher.event(number)


async def _consumers(rabbit: RabbitServer, url: str) -> int:
    return sum(queue.consumers for queue in (await queues(rabbit, url)).values())


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
@pytest.mark.parametrize("fault", ["refused", "frozen"])
async def test_one_that_lost_its_redis_leaves_events_to_the_other(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer, fault: str, transport: str
) -> None:
    url = await rabbit.vhost()
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
    async with FaultyTcp(redis.port) as way, _two({"REDIS_ADDR": way.addr}, settings | {"TRANSPORT": transport}) as two:
        async with Gateway(two[1].addr) as gateway:
            await until(lambda: _are(rabbit, url, 4), "both to consume")
            await _stored(gateway)
            if fault == "refused":
                await way.refuse()
            else:
                way.stall()
            lost = time.monotonic()
            await _changed(upstream, url)
            await until(lambda: _true(gateway), "the events to be applied")
            assert time.monotonic() - lost < WITHIN + BUSY
            await two[0].logged("media events are left to other proxies")
            assert await two[0].metric('media_cache_dependency_up{dependency="rabbitmq"}') == 1
            assert await _consumers(rabbit, url) == 2
            if fault == "refused":
                await way.start()
            way.resume()
            await until(lambda: _are(rabbit, url, 4), "both to consume again")


async def _are(rabbit: RabbitServer, url: str, count: int) -> bool:
    return await _consumers(rabbit, url) == count


async def test_one_that_hangs_keeps_a_few_events_for_two_heartbeats(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    """The broker alone can take them back. How many it holds is bounded by what it is given beforehand."""
    url = await rabbit.vhost()
    settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
    async with _two({}, settings | {"TRANSPORT": "grpcio"}) as (hanging, other), Gateway(other.addr) as gateway:
        await _stored(gateway)
        hanging.freeze()
        froze = time.monotonic()
        for _ in range(3):  # more than it is given at once
            await _changed(upstream, url)
        await asyncio.sleep(0)
        held = sum(queue.unacknowledged for queue in (await queues(rabbit, url)).values())
        assert held <= 10 + 10  # the other's are being applied
        await until(lambda: _nothing_in_hand(rabbit, url), "the broker to take them back")
        assert time.monotonic() - froze < 2 * 5 + WITHIN + BUSY
        hanging.thaw()
        await until(lambda: _are(rabbit, url, 4), "both to consume again")


async def _nothing_in_hand(rabbit: RabbitServer, url: str) -> bool:
    return all(not queue.ready and not queue.unacknowledged for queue in (await queues(rabbit, url)).values())
