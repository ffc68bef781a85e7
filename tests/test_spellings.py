"""Types of which PostgreSQL and Python make different things: never cached, and no spelling of theirs is outdated."""

import pytest

from proxy.media.model import Model
from tests.calling import Gateway, publish
from tests.in_process import Stack
from tests.servers.process import ProxyProcess
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.servers.upstream import FakeMediaServer
from tests.servers.waiting import until

_DOTLESS = "\N{LATIN SMALL LETTER DOTLESS I}tem"
_PLAIN_AND_OTHERS = [
    ("item", "İtem"),
    ("item", _DOTLESS),
    ("item", "i\N{COMBINING DOT ABOVE}tem"),
    ("strasse", "Straße"),
    ("strasse", "STRAẞE"),
    ("οδοσ", "ΟΔΟΣ"),
]


@pytest.mark.parametrize(("plain", "other"), _PLAIN_AND_OTHERS)
async def test_one_that_is_not_plain_bypasses_and_invalidates_every_folding(
    redis: RedisServer, plain: str, other: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(plain) for _ in range(2)] == ["miss", "hit"]
        assert [await process.x_cache(other) for _ in range(2)] == ["bypass", "bypass"]
        await process.event(Model.of(other, 1))
        await until(lambda: not process.core.invalidations.pending, "the event to be applied")
        assert await process.found(plain) is None
        await until(lambda: _hits(process, plain), "it to be cached again")  # an event closes for 100 ms
        await process.upload(other)
        assert await process.found(plain) is None


async def _hits(process: object, plain: str) -> bool:
    return await process.x_cache(plain) == "hit"  # type: ignore[attr-defined, no-any-return]


async def test_while_redis_is_away_every_folding_is_held(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr) as stack:
        process = await stack.process()
        process.core.invalidations.invalidate_soon(Model.of("İtem", 1))
        assert process.core.invalidations.held_back(Model.of("item", 1))
        assert process.core.invalidations.held_back(Model.of("i\N{COMBINING DOT ABOVE}tem", 1))
        await until(lambda: not process.core.invalidations.pending, "both to be taken")


@pytest.mark.usefixtures("each_transport")
async def test_an_event_of_another_spelling_reaches_the_plain_one(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer
) -> None:
    url = await rabbit.vhost()
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await proxy.logged("the whole cache was flushed")
            assert (await gateway.read(model_type="İtem")).x_cache == "bypass"
            await until(lambda: _cached(gateway), "it to be cached")
            new = upstream.media.add("item", 1)
            await publish(url, 1, model_type="İtem")
            await until(lambda: _sees(gateway, new.uuid), "the event to be applied")


async def _cached(gateway: Gateway) -> bool:
    return (await gateway.read(model_type="item")).x_cache == "hit"


async def _sees(gateway: Gateway, uuid: str) -> bool:
    return (await gateway.read(model_type="item")).uuids == [uuid]
