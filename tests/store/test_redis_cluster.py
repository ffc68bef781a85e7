"""A Cluster that names no hosts, or is configured as a single server; `test_redis_topology_cluster` has the rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.crc import key_slot
from redis.exceptions import MovedError

from proxy.caching.invalidations import Invalidations
from proxy.calls.keys import RequestKey
from proxy.errors import RedisUnavailableError
from proxy.store.redis_cluster import Cluster
from proxy.store.redis_store import RedisStore
from tests.support.redis_parts import body_of, cached, ready, request_key, running, storing
from tests.support.scripted_store import Counts
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.waiting import until

KEYS = [request_key(number) for number in range(12)]


async def test_no_host_means_the_one_that_was_asked() -> None:
    """Otherwise it would mean localhost, the proxy's own host. `localhost` does not resolve to 127.0.0.2."""
    config = ("cluster-preferred-endpoint-type unknown-endpoint", "bind 127.0.0.1 127.0.0.2")
    async with RedisCluster(*config) as cluster:
        async with storing(cluster.addr.replace("127.0.0.1", "127.0.0.2")) as store:
            for key in KEYS:
                await cached(store, key)
            assert {node.name.partition(":")[0] for node in store._topology.nodes()} == {"127.0.0.2"}


async def test_a_redirection_without_a_host_means_the_one_that_answered() -> None:
    async with (
        RedisCluster("cluster-preferred-endpoint-type unknown-endpoint") as cluster,
        storing(cluster.addr) as store,
    ):
        topology = store._topology
        topology._owners = dict.fromkeys(range(16384), topology.nodes()[0].name)  # type: ignore[attr-defined]
        for key in KEYS:
            await cached(store, key)
            assert await body_of(store, key) == b"body"


async def test_one_of_several_masters_is_no_single_server_and_says_how_to_write_it() -> None:
    async with RedisCluster() as cluster, storing(cluster.servers[0].addr, up=False) as store:
        await until(lambda: "write redis+cluster://" in store.trouble, "the reason")
        assert not store.usable(KEYS[0].hash_key)


async def test_one_that_has_grown_is_no_single_server_any_more() -> None:
    async with RedisCluster(masters=1) as cluster, storing(cluster.servers[0].addr) as store:
        (node,) = store._topology.nodes()
        assert store._topology.redirected(MovedError("1 127.0.0.1:1"), node) is None
        assert "write redis+cluster://" in node.trouble
        await ready(store)  # checked again, it has not grown


@asynccontextmanager
async def _with_a_successor() -> AsyncIterator[tuple[RedisCluster, RedisServer]]:
    """A Cluster and a replica of its first master."""
    async with RedisCluster() as cluster, RedisServer("cluster-enabled yes", "cluster-node-timeout 2000") as replica:
        master = cluster.servers[0]
        await replica.cli("CLUSTER", "MEET", "127.0.0.1", master.port)

        async def known() -> bool:
            return b"0-5461" in await replica.cli("CLUSTER", "NODES")

        await until(known, "the replica to know who has which slots")
        await replica.cli("CLUSTER", "REPLICATE", await master.cli("CLUSTER", "MYID"))

        async def in_sync() -> bool:
            return bool((await replica.info("replication")).get("master_link_status") == "up")

        await until(in_sync, "the replica to be in sync")
        yield cluster, replica


async def test_what_was_confirmed_is_done_again_on_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old master accepted an invalidation and was deposed; another process had stored on the successor before."""
    key = next(key for key in KEYS if key_slot(key.hash_key) < 16384 // 3)
    late, refresh = asyncio.Event(), Cluster._refresh

    async with (
        _with_a_successor() as (cluster, successor),
        storing(cluster.addr) as mine,
        running((invalidations := Invalidations(mine, Counts())).run()),
    ):

        async def refreshed(topology: Cluster) -> None:
            if topology is mine.topology:
                await late.wait()
            await refresh(topology)

        monkeypatch.setattr(Cluster, "_refresh", refreshed)
        await invalidations.invalidate(key.tag, source="admin")  # the window of an event would keep others from storing
        await successor.cli("CLUSTER", "FAILOVER", "TAKEOVER")
        async with storing(cluster.addr, up=False) as others:
            await until(lambda: _owner(others, key) == successor.port and others.usable(key.hash_key), "the successor")
            await ready(others)
            await cached(others, key)
            assert await body_of(others, key) == b"body"
            late.set()

            async def gone() -> bool:
                try:
                    return await body_of(others, key) is None
                except RedisUnavailableError:  # the nodes do not agree yet on the slot's owner
                    return False

            await until(gone, "the invalidation to be done again")


def _owner(store: RedisStore, key: RequestKey) -> int:
    node = store.topology.node_for(key.hash_key)
    return 0 if node is None else int(node.name.rpartition(":")[2])
