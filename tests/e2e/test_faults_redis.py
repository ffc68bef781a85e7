"""Redis failing in every way it can, under the proxy as a process: no call fails, nothing stale, caching comes back.

Refused, killed and frozen are in `test_degradation.py`, snapshots and failovers where the store is tested.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

RETURN = 10.0
"""Seconds within which caching is back by itself, on a slow machine."""


@asynccontextmanager
async def serving(redis_addr: str, upstream: FakeMediaServer) -> AsyncIterator[tuple[ProxyProcess, Gateway]]:
    """A proxy that has stored the files of user 1 (none), and its caller."""
    async with ProxyProcess(REDIS_ADDR=redis_addr, MEDIA_SERVICE_ADDR=upstream.addr) as proxy:
        async with Gateway(proxy.addr) as gateway:
            assert await gateway.x_cache() == "miss"
            await gateway.hits()
            yield proxy, gateway


async def _caches_again(gateway: Gateway, model_id: int) -> None:
    """Waits for a hit on a model that was never read before."""
    await gateway.hits(model_id, within=RETURN)


async def _writes_and_reads_its_write(gateway: Gateway) -> None:
    """However Redis is: the answer from before the upload must not come back."""
    before = (await gateway.read()).response.data.total
    assert (await gateway.upload()).success
    assert (await gateway.read()).response.data.total == before + 1


async def test_a_slow_redis_is_spared(redis: RedisServer, upstream: FakeMediaServer) -> None:
    async with FaultyTcp(redis.port) as way, serving(way.addr, upstream) as (proxy, gateway):
        way.delay = 0.03

        async def spared() -> bool:
            read = await gateway.read()
            return read.x_cache == "miss" and await proxy.metric('media_cache_dependency_up{dependency="redis"}') == 0

        await until(spared, "the breaker to open", 30)
        (line,) = await proxy.logged("redis lost")
        assert "slow" in line or "no answer" in line
        await _writes_and_reads_its_write(gateway)
        way.resume()
        await _caches_again(gateway, 2)
        await _writes_and_reads_its_write(gateway)


async def test_a_full_redis_serves_what_it_has_and_forgets_what_was_written(
    own_redis: RedisServer, upstream: FakeMediaServer
) -> None:
    async with serving(own_redis.addr, upstream) as (proxy, gateway):
        await own_redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        assert await gateway.x_cache() == "hit"
        assert [await gateway.x_cache(2) for _ in range(3)] == ["miss"] * 3
        assert len(await proxy.logged("Redis is full")) == 1
        await _writes_and_reads_its_write(gateway)
        await own_redis.cli("CONFIG", "SET", "maxmemory", "0")
        await _caches_again(gateway, 2)
        await _writes_and_reads_its_write(gateway)


async def test_one_that_loads_its_data_is_waited_for(upstream: FakeMediaServer) -> None:
    slow = ("loading-process-events-interval-bytes 1024", "key-load-delay 2000")
    async with RedisServer(*slow) as server, serving(server.addr, upstream) as (proxy, gateway):
        async with server.client() as client:
            await client.mset({f"key {number}": b"x" * 500 for number in range(500)})
            await client.save()
        # The answer from before this write is in the snapshot.
        await _writes_and_reads_its_write(gateway)
        server.kill()
        server.child.spawn()

        async def loading() -> bool:
            assert (await gateway.read()).response.data.total == 1
            return await _says(proxy, "Redis is loading")

        await until(loading, "Redis to be seen loading", RETURN)
        assert await gateway.x_cache(2) == "miss"
        await server.ready()
        await _caches_again(gateway, 2)
        assert (await gateway.read()).response.data.total == 1


async def _says(proxy: ProxyProcess, reason: str) -> bool:
    """Operators see why Redis cannot be used now, whatever it was lost for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.admin_port)
    try:
        writer.write(b"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return reason in (await reader.read()).decode()
    finally:
        writer.close()


async def test_one_that_is_demoted_takes_no_writes(
    own_redis: RedisServer, redis: RedisServer, upstream: FakeMediaServer
) -> None:
    async with serving(own_redis.addr, upstream) as (proxy, gateway):
        await own_redis.cli("REPLICAOF", "127.0.0.1", redis.port)
        await _writes_and_reads_its_write(gateway)
        await proxy.logged("redis lost")
        assert [await gateway.x_cache() for _ in range(3)] == ["miss"] * 3
        await own_redis.cli("REPLICAOF", "NO", "ONE")
        await _caches_again(gateway, 2)
        assert (await gateway.read()).response.data.total == 1


async def test_one_that_no_longer_takes_our_password(own_redis: RedisServer, upstream: FakeMediaServer) -> None:
    async with serving(own_redis.addr, upstream) as (proxy, gateway):
        await own_redis.cli("CONFIG", "SET", "requirepass", "new")
        own_redis.password = "new"
        await own_redis.cli("CLIENT", "KILL", "TYPE", "normal")
        await _writes_and_reads_its_write(gateway)
        await proxy.logged("redis lost")
        assert [await gateway.x_cache() for _ in range(3)] == ["miss"] * 3
        await until(lambda: _says(proxy, "Authentication required"), "the reason")
        await own_redis.cli("CONFIG", "SET", "requirepass", "")
        await _caches_again(gateway, 2)
        assert (await gateway.read()).response.data.total == 1


async def test_a_reply_that_is_cut_is_nobodys_answer(redis: RedisServer, upstream: FakeMediaServer) -> None:
    async with FaultyTcp(redis.port) as way, serving(way.addr, upstream) as (_, gateway):
        large = upstream.media.add("User", 2, manipulations="x" * 300_000)
        assert await gateway.x_cache(2) == "miss"
        way.cut_reply_after = 100_000
        for _ in range(5):
            read = await gateway.read(model_id=2)
            assert (read.x_cache, read.uuids) == ("miss", [large.uuid])
            assert len(read.response.data.media[0].manipulations) == 300_000
        way.resume()
        await _caches_again(gateway, 2)
        assert len((await gateway.read(model_id=2)).response.data.media[0].manipulations) == 300_000


async def test_a_flushall_in_the_middle_of_a_fill_leaves_nothing_outdated(
    redis: RedisServer, upstream: FakeMediaServer
) -> None:
    async with serving(redis.addr, upstream) as (_, gateway):
        gate = upstream.media.hold("GetFilesByModel", at="answer")
        reading = asyncio.create_task(gateway.read(model_id=2))
        await gate.reached()
        upstream.media.add("User", 2)  # the read under way has seen none
        await redis.cli("FLUSHALL")
        upstream.media.release("GetFilesByModel", "answer")
        assert (await reading).response.data.total == 0
        after = await gateway.read(model_id=2)
        assert (after.x_cache, after.response.data.total) == ("miss", 1)
        assert await gateway.x_cache(2) == "hit"
