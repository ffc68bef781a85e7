"""A media service whose writes succeed and whose events do not come, or cannot be read; proxies as processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.pb import media_pb2 as pb
from tests.support.amqp import consuming_beside, publishing
from tests.support.calling import Gateway, publish
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

TRANSPORTS = pytest.mark.parametrize("transport", ["grpcio", "envoy"])


@pytest.fixture
async def url(rabbit: RabbitServer) -> str:
    return await rabbit.vhost()


@pytest.fixture
def settings(redis: RedisServer, upstream: FakeMediaServer, url: str) -> dict[str, str]:
    addresses = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "RABBITMQ_ADDR": url}
    return addresses | {"CACHE_TTL_WITHOUT_EVENTS": "1s"}


@asynccontextmanager
async def _proxy(settings: dict[str, str], transport: str = "grpcio") -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(**settings, TRANSPORT=transport) as one:

        async def connected() -> bool:
            up = await one.metric('media_cache_dependency_up{dependency="rabbitmq"}') == 1
            return up and await one.metric("media_cache_invalidations_pending") == 0

        await until(connected, "the consumer", 60)
        yield one


async def _silent(proxy: ProxyProcess, silent: bool = True) -> None:
    async def says_so() -> bool:
        return (await proxy.metric("media_cache_events_missing") == 1) is silent

    await until(says_so, f"events to be {'missing' if silent else 'there'}", 60)


async def _seen(gateway: Gateway, model_id: int, total: int) -> None:
    async def sees() -> bool:
        return (await gateway.read(model_id=model_id)).response.data.total == total

    await until(sees, f"{total} files of {model_id}")


@TRANSPORTS
async def test_a_publisher_that_fell_silent_is_noticed_by_every_proxy(
    settings: dict[str, str], url: str, upstream: FakeMediaServer, transport: str
) -> None:
    async with _proxy(settings, transport) as one, _proxy(settings) as other:
        async with Gateway(one.addr) as writer, Gateway(other.addr) as reader:
            await publish(url, 7)
            await reader.hits(1)
            await reader.hits(8)
            for number in (2, 3, 4):
                await writer.upload(number)
            upstream.media.add("User", 1)  # past the proxies, with no event
            upstream.media.add("User", 8)  # and read by nobody until events come again
            await _silent(one)
            await _silent(other)
            await _seen(reader, 1, 1)
            async with _proxy(settings) as late:  # believes the others at once
                await _silent(late)
            await publish(url, 7)
            await _silent(one, silent=False)
            await _silent(other, silent=False)
            assert (await reader.read(model_id=8)).response.data.total == 1
            await reader.hits(1)
        for proxy in (one, other):
            assert len(await proxy.logged("writes succeed but no media event follows them")) == 1
            assert len(await proxy.logged("media events follow writes again")) == 1


async def test_events_that_another_proxy_consumes_are_events(settings: dict[str, str], url: str) -> None:
    """Each write's event goes to any of the two; some come before the answer is known to all, nothing after them."""
    async with _proxy(settings) as one, _proxy(settings) as other, Gateway(one.addr) as writer:
        for number in range(1, 9):
            await asyncio.gather(writer.upload(number), publish(url, number))
        applied = [await each.metric('media_cache_events_total{outcome="applied"}') for each in (one, other)]
        assert sum(applied) > 0
        deadline = asyncio.get_running_loop().time() + 14.0  # until a silence would have been found

        async def over() -> bool:
            assert await one.metric("media_cache_events_missing") == 0
            assert await other.metric("media_cache_events_missing") == 0
            return asyncio.get_running_loop().time() > deadline

        await until(over, "the time in which a silence is found")


async def test_writes_that_did_not_succeed_wait_for_no_event(settings: dict[str, str]) -> None:
    async with _proxy(settings) as one, Gateway(one.addr) as writer:
        for number in range(5):
            response = await writer.stub.DeleteFile(pb.DeleteFileRequest(id=900 + number))
            assert not response.success
        deadline = asyncio.get_running_loop().time() + 14.0

        async def over() -> bool:
            assert await one.metric("media_cache_events_missing") == 0
            return asyncio.get_running_loop().time() > deadline

        await until(over, "the time in which a silence is found")


async def test_events_that_cannot_be_read_count_as_missing(
    settings: dict[str, str], url: str, upstream: FakeMediaServer
) -> None:
    """A release of the media service that writes them otherwise: nobody need write through a proxy."""
    async with _proxy(settings) as one, Gateway(one.addr) as reader, publishing(url) as publisher:
        await reader.hits(1)
        for _ in range(3):
            upstream.media.add("User", 1)
            await publisher.raw(b'{"v2": {"model": "user/1"}}')
        await _silent(one)
        await _seen(reader, 1, 3)
        await publisher.event(1)
        await _silent(one, silent=False)


@TRANSPORTS
async def test_one_mute_media_service_among_several_is_noticed(
    settings: dict[str, str], url: str, upstream: FakeMediaServer, transport: str
) -> None:
    """Ours stores files and publishes nothing, another one's events come all the while."""
    async with _proxy(settings, transport) as one, _proxy(settings) as other:
        async with Gateway(one.addr) as writer, Gateway(other.addr) as reader:
            for number in range(7, 11):
                await publish(url, number)  # both have heard of users
            await reader.hits(1)
            upstream.media.add("User", 1)  # past the proxies, with no event
            for number in (2, 3, 4):
                await writer.upload(number)

            async def silent() -> bool:
                await publish(url, 7)
                return [await each.metric("media_cache_events_missing") for each in (one, other)] == [1, 1]

            await until(silent, "the mute one to be noticed", 60)
            await _seen(reader, 1, 1)
            for proxy in (one, other):
                assert len(await proxy.logged("some writes succeed but no media event follows them")) == 1
                assert not [line for line in proxy.lines if "media events follow writes again" in line]

            async def in_order_again() -> bool:
                for number in range(20, 30):
                    await writer.upload(number)
                    await publish(url, number)
                return [await each.metric("media_cache_events_missing") for each in (one, other)] == [0, 0]

            await until(in_order_again, "thirty writes in a row with their events", 90)


async def test_one_of_several_whose_events_cannot_be_read(
    settings: dict[str, str], url: str, upstream: FakeMediaServer
) -> None:
    """Half of them has been released with another format; nobody writes through a proxy."""
    async with _proxy(settings) as one, Gateway(one.addr) as reader, publishing(url) as publisher:
        await reader.hits(1)
        upstream.media.add("User", 1)

        async def noticed() -> bool:  # more of them: those that come at once may be applied in any order
            await publisher.raw(b'{"v2": {"model": "user/1"}}')
            await publisher.event(7)
            return await one.metric("media_cache_events_missing") == 1

        await until(noticed, "events to be missing", 60)
        await _seen(reader, 1, 1)
        assert len(await one.logged("some writes succeed but no media event follows them")) == 1
        for _ in range(30):
            await publisher.event(7)
        await _silent(one, silent=False)


async def test_who_takes_events_out_of_our_queues_is_noticed(settings: dict[str, str], url: str) -> None:
    """A second consumer: each write is announced, and half of the announcements go elsewhere."""
    async with _proxy(settings) as one, Gateway(one.addr) as writer, consuming_beside(url) as taken:

        async def noticed() -> bool:
            for number in range(1, 7):
                await asyncio.gather(writer.upload(number), publish(url, number))
            return await one.metric("media_cache_events_missing") == 1

        await until(noticed, "what is lost to be noticed", 60)
        assert taken
