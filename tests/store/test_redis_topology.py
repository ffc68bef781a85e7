"""Which Redis holds a key: a single server, the master that Sentinels name now, or the owner of a Cluster's slot."""

import asyncio
import socket

import pytest

from proxy.errors import RedisUnavailableError
from proxy.policy.builtin.model import Model
from proxy.settings.setting_types import RedisAddr
from proxy.store.redis_node import Budget
from proxy.store.redis_sentinels import sentinels_of
from tests.support.redis_parts import body_of, cached, ready, request_key, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import SentinelSet
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

USER = Model.of("user", 1)
KEY = request_key()


async def _works(addr: str) -> None:
    async with storing(addr) as store:
        await cached(store, KEY)
        assert await body_of(store, KEY) == b"body"
        await store.invalidate(USER, timeout=5)
        assert await body_of(store, KEY) is None


class TestOneServer:
    async def test_by_host_and_port(self, redis: RedisServer) -> None:
        await _works(f"127.0.0.1:{redis.port}")
        await _works(f"localhost:{redis.port}")

    async def test_by_url_with_a_password_and_a_database(self) -> None:
        async with RedisServer(password="p@ss/word") as server:
            url = f"redis://:p%40ss%2Fword@127.0.0.1:{server.port}/3"
            await _works(url)
            async with storing(url) as store:
                await cached(store, KEY)
                assert (await server.info("keyspace"))["db3"]["keys"] == 1

    async def test_by_url_with_a_user(self) -> None:
        async with RedisServer("user proxy on >pw ~* +@all") as server:
            await _works(f"redis://proxy:pw@127.0.0.1:{server.port}")

    async def test_a_database_that_does_not_exist(self, redis: RedisServer) -> None:
        async with storing(f"redis://127.0.0.1:{redis.port}/99", up=False) as store:
            (node,) = store._topology.nodes()
            await until(lambda: "out of range" in node._link.failure)


class TestTls:
    async def test_a_server_that_speaks_none(self, redis: RedisServer) -> None:
        async with storing(f"rediss://127.0.0.1:{redis.port}", up=False) as store:
            (node,) = store._topology.nodes()
            await until(lambda: node._link.failure not in {"not connected yet", ""})
            with pytest.raises(RedisUnavailableError):
                await store.read(KEY, Budget())

    def test_the_urls_options_are_for_the_sentinels_too(self) -> None:
        target = RedisAddr().parse("rediss+sentinel://u:pw@h1:1,h2:2/media/0?ssl_ca_certs=/ca.pem")
        assert target is not None
        for client in sentinels_of(target).sentinels:
            options = client.connection_pool.connection_kwargs
            assert options["ssl_ca_certs"] == "/ca.pem"
            assert (options["username"], options["password"]) == (None, None)


class TestSentinel:
    async def test_a_failover_is_followed_and_old_entries_count_for_nothing(self) -> None:
        async with SentinelSet() as sentinels, storing(sentinels.addr) as store:
            (node,) = store._topology.nodes()
            await cached(store, KEY)

            async def replicated() -> bool:
                return bool(await sentinels.replica.cli("EXISTS", KEY.hash_key))

            await until(replicated)
            first = node.run_id
            sentinels.master.kill()
            await until(lambda: not store.usable(KEY.hash_key))
            await sentinels.failed_over()
            await until(lambda: store.usable(KEY.hash_key), "the new master to be found", timeout=5)
            await ready(store)
            assert node.run_id != first
            assert await sentinels.replica.cli("EXISTS", KEY.hash_key)
            assert await body_of(store, KEY) is None
            await cached(store, KEY, b"new")
            assert await body_of(store, KEY) == b"new"
            await store.invalidate(USER, timeout=5)
            assert await body_of(store, KEY) is None

    async def test_one_that_does_not_answer_and_one_that_cannot_be_reached(self) -> None:
        """The host that failed ran the master and a Sentinel."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(4)]  # the queue of connections is full, so a further one hangs
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            async with SentinelSet() as sentinels, FaultyTcp(sentinels.sentinels[0].port) as mute:
                mute.swallow = True
                nodes = f"127.0.0.1:{full.getsockname()[1]},{mute.addr},{sentinels.sentinels[0].addr}"
                await _works(f"redis+sentinel://{nodes}/media/0")
            for each in waiting:
                each.close()

    async def test_no_sentinel_at_all_and_an_unknown_master(self, own_redis: RedisServer) -> None:
        own_redis.kill()
        async with storing(f"redis+sentinel://{own_redis.addr}/media", up=False) as store:
            (node,) = store._topology.nodes()
            await until(lambda: "No master found" in node._link.failure)

    async def test_the_end_closes_the_connections_to_them(self) -> None:
        async with SentinelSet() as sentinels, FaultyTcp(sentinels.sentinels[0].port) as tcp:
            async with storing(f"redis+sentinel://{tcp.addr}/media") as store:
                await cached(store, KEY)
                assert tcp.open == 1
            await until(lambda: tcp.open == 0, "the connection to be closed", timeout=5)

    async def test_a_cancellation_while_they_are_asked_is_not_lost(self) -> None:
        async with SentinelSet() as sentinels:
            for turns in range(0, 40, 2):
                async with storing(sentinels.addr, up=False) as store:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                assert not store.usable(KEY.hash_key)
            async with storing(sentinels.addr) as store:
                await ready(store)
