"""The seed's degradation table, against the proxy as a process: what breaks around it breaks no call through it."""

import asyncio
import time

import grpc
import grpc.aio
import pytest

from proxy.pb import media_pb2 as pb
from tests.support.calling import Gateway
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

RETURN = 5.0
"""Seconds within which caching is back by itself."""


async def _caches_again(gateway: Gateway, model_id: int, within: float = RETURN) -> None:
    """Waits for a hit on a model that was never read before the outage."""
    await gateway.hits(model_id, within=within)


async def test_redis_absent_at_start_then_there(own_redis: RedisServer, upstream: FakeMediaServer) -> None:
    own_redis.kill()
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert [await gateway.x_cache() for _ in range(3)] == ["miss"] * 3
            assert (await proxy.probe("/readyz"))[0] == 200
            assert await proxy.metric('media_cache_dependency_up{dependency="redis"}') == 0
            await own_redis.start()
            await _caches_again(gateway, 2)
            assert len(await proxy.logged("redis lost")) == 1
            assert len(await proxy.logged("redis is back")) == 1


async def test_no_redis_configured(upstream: FakeMediaServer) -> None:
    async with ProxyProcess(REDIS_ADDR="", MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert [await gateway.x_cache() for _ in range(2)] == ["miss", "miss"]
            uploaded = await gateway.upload()
            assert uploaded.success
            assert (await gateway.stub.DeleteFile(pb.DeleteFileRequest(id=uploaded.data.id))).success
        assert 'dependency="redis"' not in (await proxy.probe("/metrics"))[1]  # absent, so that no alert fires
    assert upstream.media.count("GetFileByID") == 0  # there is nothing to invalidate, so nothing to find out


@pytest.mark.usefixtures("each_transport")
async def test_redis_killed_and_restarted(own_redis: RedisServer, upstream: FakeMediaServer) -> None:
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert await gateway.x_cache() == "miss"
            await gateway.hits()
            own_redis.kill()
            assert [await gateway.x_cache() for _ in range(20)] == ["miss"] * 20
            await own_redis.start()
            await _caches_again(gateway, 2)


@pytest.mark.usefixtures("each_transport")
async def test_redis_frozen(own_redis: RedisServer, upstream: FakeMediaServer) -> None:
    async with ProxyProcess(REDIS_ADDR=own_redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert await gateway.x_cache() == "miss"
            await gateway.hits()
            own_redis.freeze()
            reads = await asyncio.gather(*(gateway.read(model_id=number) for number in range(100, 150)))
            assert {read.x_cache for read in reads} == {"miss"}
            begun = time.perf_counter()
            for number in range(200, 300):
                assert await gateway.x_cache(number) == "miss"
            # The breaker spares these: one alone waiting out its 50 ms each time would take 5 s.
            assert time.perf_counter() - begun < 3.0
            own_redis.thaw()
            await _caches_again(gateway, 2)


async def test_after_an_outage_old_entries_wait_for_others_invalidations(
    own_redis: RedisServer, upstream: FakeMediaServer
) -> None:
    """The outage rule: another process may hold an invalidation back that Redis has not seen yet."""
    async with FaultyTcp(own_redis.port) as way:
        through = {"REDIS_ADDR": way.addr, "MEDIA_SERVICE_ADDR": upstream.addr}
        straight = {"REDIS_ADDR": own_redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr}
        async with ProxyProcess(**through) as writer, ProxyProcess(**straight) as reader:
            async with Gateway(writer.addr) as writing, Gateway(reader.addr) as reading:
                assert await reading.x_cache() == "miss"
                await reading.hits()
                await way.refuse()
                way.cut()
                await writing.upload()
                assert await writer.metric("media_cache_invalidations_pending") == 1
                own_redis.freeze()
                await reading.read()
                own_redis.thaw()
                await reader.logged("redis is back")
                assert len((await reading.read()).uuids) == 1  # not the empty list that Redis still holds
                await way.start()
                await until(lambda: _none_pending(writer), "the held invalidation to land")
                assert len((await reading.read()).uuids) == 1


async def _none_pending(proxy: ProxyProcess) -> bool:
    return await proxy.metric("media_cache_invalidations_pending") == 0


@pytest.mark.usefixtures("each_transport")
async def test_upstream_away_hits_are_served_and_misses_fail_at_once(
    redis: RedisServer, upstream: FakeMediaServer
) -> None:
    async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            await gateway.read(model_id=1)
            await upstream.stop()
            assert await gateway.x_cache(1) == "hit"
            begun = time.perf_counter()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await gateway.read(model_id=2)
            assert time.perf_counter() - begun < 2.0
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            assert ("x-cache", "miss") in tuple(failed.value.trailing_metadata() or ())
            await upstream.start()

            async def answered() -> bool:
                try:
                    return await gateway.x_cache(3) in {"miss", "hit"}
                except grpc.aio.AioRpcError:
                    return False

            await until(answered, "recovery", 1.5)


@pytest.mark.parametrize("trouble", ["refused", "wrong password"])
@pytest.mark.usefixtures("each_transport")
async def test_rabbitmq_trouble_leaves_serving_alone(
    redis: RedisServer, rabbit: RabbitServer, upstream: FakeMediaServer, trouble: str
) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    if trouble == "wrong password":
        url = (await rabbit.vhost()).replace("guest:guest", "guest:wr0ng")
    async with ProxyProcess(
        REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=upstream.addr, RABBITMQ_ADDR=url, CACHE_TTL="2s"
    ) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert await gateway.x_cache() == "miss"
            await gateway.hits()
            await gateway.upload()
            assert len((await gateway.read()).uuids) == 1
            await until(lambda: _is_away(proxy), "RabbitMQ to be reported away")
            assert "wr0ng" not in proxy.stderr

            async def expired() -> bool:  # the TTL still holds
                return await gateway.x_cache() == "miss"

            await until(expired, "the entry to expire", 5)


async def _is_away(proxy: ProxyProcess) -> bool:
    return 'media_cache_dependency_up{dependency="rabbitmq"} 0' in (await proxy.probe("/metrics"))[1]
