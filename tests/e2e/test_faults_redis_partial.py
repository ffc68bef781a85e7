"""Only a part of Redis broken, proxies as processes: writes and not reads, one of two servers, a failover's side."""

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e.test_faults_redis import serving
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import MASTER_NAME, RedisCluster, SentinelSet
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_MODELS = range(1, 11)
BUSY = 3.0
_UP = 'media_cache_dependency_up{dependency="redis"}'


@asynccontextmanager
async def _proxy(
    redis_addr: str, upstream: FakeMediaServer, transport: str = "grpcio"
) -> AsyncIterator[tuple[ProxyProcess, Gateway]]:
    settings = {"REDIS_ADDR": redis_addr, "MEDIA_SERVICE_ADDR": upstream.addr, "TRANSPORT": transport}
    async with ProxyProcess(**settings) as proxy:
        async with Gateway(proxy.addr) as gateway:
            yield proxy, gateway


async def _is_up(proxy: ProxyProcess) -> bool:
    return await proxy.metric(_UP) == 1


async def _page(proxy: ProxyProcess, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.admin_port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read()).decode()
    finally:
        writer.close()


async def _totals(gateway: Gateway) -> list[int]:
    reads = await asyncio.gather(*[gateway.read(model_id=number) for number in _MODELS])
    return [read.response.data.total for read in reads]


async def _too_few_replicas(server: RedisServer) -> None:
    await server.cli("CONFIG", "SET", "min-replicas-to-write", "1")


async def _enough_replicas(server: RedisServer) -> None:
    await server.cli("CONFIG", "SET", "min-replicas-to-write", "0")


async def _disk_away(server: RedisServer) -> None:
    await server.cli("CONFIG", "SET", "save", "3600 1000000")
    shutil.rmtree(server.directory)
    await server.cli("BGSAVE")

    async def failed() -> bool:
        return bool((await server.info("persistence"))["rdb_last_bgsave_status"] == "err")

    await until(failed, "the snapshot to fail")


async def _disk_forgiven(server: RedisServer) -> None:
    await server.cli("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


async def _command_taken(server: RedisServer) -> None:
    await server.cli("ACL", "SETUSER", "default", "-evalsha")


async def _command_given(server: RedisServer) -> None:
    await server.cli("ACL", "SETUSER", "default", "+evalsha")


@pytest.mark.parametrize(
    ("refuse", "grant", "words"),
    [
        (_too_few_replicas, _enough_replicas, "NOREPLICAS"),
        (_disk_away, _disk_forgiven, "MISCONF"),
        (_command_taken, _command_given, "evalsha"),
    ],
    ids=["too few replicas", "disk away", "command taken"],
)
async def test_one_that_answers_reads_and_refuses_writes_is_away(
    own_redis: RedisServer, upstream: FakeMediaServer, refuse: object, grant: object, words: str
) -> None:
    assert callable(refuse)
    assert callable(grant)
    async with serving(own_redis.addr, upstream) as (proxy, gateway):
        await refuse(own_redis)
        await until(lambda: _lost(proxy), "the refusal to be noticed", 10)
        assert [await gateway.x_cache() for _ in range(3)] == ["miss"] * 3
        (line,) = await proxy.logged("redis lost")
        assert words in line
        assert words in await _page(proxy, "/stats")
        assert words in await _page(
            proxy, "/explain?model_type=User&model_id=1&collection_name=avatars&per_page=1&page=1"
        )
        assert (await gateway.upload()).success
        assert (await gateway.read()).response.data.total == 1
        await grant(own_redis)
        await until(lambda: _is_up(proxy), "a write that is taken", 10)

        async def hit() -> bool:
            read = await gateway.read()
            assert read.response.data.total == 1
            return read.x_cache == "hit"

        await until(hit, "a hit", 10)
        assert len(await proxy.logged("redis lost")) == 1


async def _lost(proxy: ProxyProcess) -> bool:
    return not await _is_up(proxy)


async def test_what_was_confirmed_by_a_master_that_is_deposed_is_done_again(upstream: FakeMediaServer) -> None:
    """Planned: the old master goes on as one for some 10 s; who asks Sentinel anew meets the new one at once."""
    async with SentinelSet() as sentinels, _proxy(sentinels.addr, upstream) as (_, before):
        assert await _totals(before) == [0] * len(_MODELS)
        await sentinels.sentinels[0].cli("SENTINEL", "FAILOVER", MASTER_NAME)
        await sentinels.failed_over()
        async with _proxy(sentinels.addr, upstream) as (_, after):
            assert await _totals(after) == [0] * len(_MODELS)
            for number in _MODELS:
                assert (await before.upload(number)).success
            assert await _totals(before) == [1] * len(_MODELS)

            async def current() -> bool:
                return await _totals(after) == [1] * len(_MODELS)

            await until(current, "the new master to have the invalidations", 15)


async def test_a_master_that_hangs_is_left_for_the_one_that_was_promoted(upstream: FakeMediaServer) -> None:
    """Nothing waits at the old one until it thaws, and what it holds then counts for nothing."""
    async with SentinelSet() as sentinels, _proxy(sentinels.addr, upstream) as (proxy, gateway):
        assert await _totals(gateway) == [0] * len(_MODELS)
        sentinels.master.freeze()
        for number in _MODELS:
            assert (await gateway.upload(number)).success
        assert not await _is_up(proxy)
        await sentinels.failed_over()
        await until(lambda: _is_up(proxy), "the new master to be found", 15)

        async def applied() -> bool:
            return await proxy.metric("media_cache_invalidations_pending") == 0

        await until(applied, "the invalidations to be applied to the new master", 15)
        sentinels.master.thaw()
        assert await _totals(gateway) == [1] * len(_MODELS)


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_an_address_that_leads_elsewhere_is_followed_though_the_old_server_lives(
    own_redis: RedisServer, redis: RedisServer, upstream: FakeMediaServer, transport: str
) -> None:
    async with (
        FaultyTcp(own_redis.port) as way,
        _proxy(way.addr, upstream, transport) as (proxy, before),
        _proxy(redis.addr, upstream) as (_, after),
    ):
        for each in (before, after):
            await each.hits(*_MODELS)
        way.target = ("127.0.0.1", redis.port)
        moved = time.monotonic()
        for number in _MODELS:
            assert (await before.upload(number)).success
        assert await _totals(before) == [1] * len(_MODELS)

        async def current() -> bool:
            return await _totals(after) == [1] * len(_MODELS)

        await until(current, "the new server to have the invalidations", 20)
        assert time.monotonic() - moved < 2.0 + BUSY
        (line,) = await proxy.logged("redis lost")
        assert "leads to another server now" in line


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_an_address_of_two_servers_in_turn_is_not_relied_on(
    own_redis: RedisServer,
    redis: RedisServer,
    upstream: FakeMediaServer,
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets = itertools.cycle((own_redis, redis))
    async with FaultyTcp(own_redis.port) as way:
        monkeypatch.setattr(way, "connected_to", lambda: ("127.0.0.1", next(targets).port))
        async with _proxy(way.addr, upstream, transport) as (proxy, gateway):
            await proxy.logged("leads to different servers")
            for number in _MODELS:
                assert (await gateway.upload(number)).success
            assert await _totals(gateway) == [1] * len(_MODELS)
            assert {(await gateway.read(model_id=number)).x_cache for number in _MODELS} == {"miss"}
            assert "different servers at different times" in await _page(proxy, "/stats")


async def test_a_cluster_is_never_said_to_be_lost_when_it_is_well(upstream: FakeMediaServer) -> None:
    async with RedisCluster() as cluster, _proxy(cluster.addr, upstream) as (proxy, gateway):
        await until(lambda: _is_up(proxy), "every master to be usable")
        assert await gateway.x_cache() == "miss"
        await gateway.hits()
        assert not [line for line in proxy.lines if "redis lost" in line]
