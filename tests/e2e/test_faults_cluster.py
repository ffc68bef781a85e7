"""One master of a Cluster is away: what the others hold is kept up to date, and what it holds is once it is back."""

import asyncio
import time
from collections.abc import Iterable

import pytest

from proxy.calls.keys import Keys
from proxy.policy.builtin.model import Model
from tests.support.amqp import publishing
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

MODELS = range(1, 91)
"""Enough for more than the prefetch on each master."""
KEYS = Keys("media", ())


async def _on(cluster: RedisCluster, server: RedisServer) -> list[int]:
    """The models whose keys a master holds."""
    owners = await asyncio.gather(*[cluster.owner(KEYS.of_tag(Model.of("User", number))) for number in MODELS])
    return [number for number, owner in zip(MODELS, owners, strict=True) if owner is server]


async def _true(gateway: Gateway, models: Iterable[int], total: int) -> bool:
    return all([(await gateway.read(model_id=number)).response.data.total == total for number in models])


async def _changed(upstream: FakeMediaServer, url: str, models: Iterable[int]) -> None:
    """Every model gets a file past the proxies, and its event is sent."""
    async with publishing(url) as publisher:
        for number in models:
            upstream.media.add("User", number)
            await publisher.event(number)


async def _consumes(proxy: ProxyProcess) -> bool:
    return await proxy.metric('media_cache_dependency_up{dependency="rabbitmq"}') == 1


async def _up(proxy: ProxyProcess) -> bool:
    return await proxy.metric('media_cache_dependency_up{dependency="redis"}') == 1


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_one_master_away_holds_up_no_events_of_the_others(
    rabbit: RabbitServer, upstream: FakeMediaServer, transport: str
) -> None:
    url = await rabbit.vhost()
    async with RedisCluster("cluster-require-full-coverage no") as cluster:
        settings = {"REDIS_ADDR": cluster.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
        settings |= {"TRANSPORT": transport}
        away = cluster.servers[0]
        lost = await _on(cluster, away)
        kept = [number for number in MODELS if number not in lost]
        async with ProxyProcess(**settings) as one, ProxyProcess(**settings) as other, Gateway(other.addr) as gateway:
            await until(lambda: _consumes(one), "a consumer", 60)
            await until(lambda: _consumes(other), "the other consumer", 60)
            await gateway.hits(*MODELS, within=60)
            away.freeze()
            for proxy in (one, other):
                await proxy.logged("a part of Redis cannot be used")
            froze = time.monotonic()
            await _changed(upstream, url, [*lost, *kept])
            await until(lambda: _true(gateway, kept, 1), "the others' events to be applied", 20)
            assert time.monotonic() - froze < 10.0  # on a busy machine; else never, while it is away
            away.thaw()
            await until(lambda: _up(other), "the master to be back")
            await until(lambda: _true(gateway, MODELS, 1), "all events to be applied", 20)
            await gateway.hits(*MODELS, within=60)
            assert await _true(gateway, MODELS, 1)
