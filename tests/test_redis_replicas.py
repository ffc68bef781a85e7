"""An invalidation counts once the replicas have it; a frozen one keeps no other from the master."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.errors import RedisUnavailableError
from proxy.store.redis_node import Budget, Node
from tests.redis_parts import maker, noded
from tests.servers.redis import RedisServer
from tests.servers.waiting import until


@asynccontextmanager
async def _pair(master: RedisServer) -> AsyncIterator[tuple[Node, RedisServer]]:
    """A node that knows of its replica and can write."""
    async with RedisServer(replica_of=master) as replica:

        async def in_sync() -> bool:
            return bool((await replica.info("replication"))["master_link_status"] == "up")

        await until(in_sync, "the replica to be in sync")
        async with noded(maker(master.port)) as (node, _):
            await until(lambda: node._writes.replicas == 1 and node._writes._link.connected.is_set(), timeout=5)
            yield node, replica


async def test_a_write_is_on_the_replica_when_it_returns(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, replica):
        for number in range(50):
            await node.write(Budget(5), b"SET", b"k", b"%d" % number)
            assert await replica.cli("GET", "k") == b"%d" % number


async def test_many_at_once_share_the_waiting(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, replica):
        await own_redis.cli("CONFIG", "RESETSTAT")
        await asyncio.gather(*[node.write(Budget(5), b"SET", b"k%d" % number, b"v") for number in range(200)])
        assert await replica.cli("DBSIZE") == 200
        waits = (await own_redis.info("commandstats"))["cmdstat_wait"]["calls"]
        assert waits < 50


async def test_a_frozen_replica_is_waited_for_and_said(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, replica):
        replica.freeze()
        budget = Budget(0.05)
        with pytest.raises(RedisUnavailableError, match="not on all of 1 replicas"):
            await node.write(budget, b"SET", b"k", b"v")
        assert budget.left <= 0
        assert node.usable  # the master is well: reads go on
        replica.thaw()
        await node.write(Budget(5), b"SET", b"k", b"w")
        assert await replica.cli("GET", "k") == b"w"


async def test_it_keeps_no_further_write_from_the_master(own_redis: RedisServer) -> None:
    """What is retried for a second each must not hold up an invalidation that has 50 ms."""
    async with _pair(own_redis) as (node, replica):
        replica.freeze()
        retries = [asyncio.create_task(node.write(Budget(30), b"SET", b"r%d" % number, b"v")) for number in range(64)]
        await until(lambda: node._writes._written >= 64)
        with pytest.raises(RedisUnavailableError, match="replicas"):
            await node.write(Budget(0.2), b"SET", b"mine", b"v")
        assert await own_redis.cli("GET", "mine") == b"v"
        replica.thaw()
        await asyncio.gather(*retries)


async def test_a_frozen_master_opens_the_breaker(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, _):
        own_redis.freeze()
        with pytest.raises(RedisUnavailableError, match="no answer to an invalidation"):
            await node.write(Budget(), b"SET", b"k", b"v")
        assert not node.usable
        with pytest.raises(RedisUnavailableError):
            await node.write(Budget(60), b"SET", b"k", b"v")  # at once
        own_redis.thaw()
        await until(lambda: node.usable, timeout=5)
        await node.write(Budget(5), b"SET", b"k", b"v")


async def test_a_connection_lost_before_the_replicas_had_it_confirms_nothing(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, replica):
        replica.freeze()
        first = asyncio.create_task(node.write(Budget(30), b"SET", b"k", b"v"))
        await until(lambda: node._writes._written == 1)
        second = asyncio.create_task(node.write(Budget(30), b"SET", b"k", b"v"))  # waits for its turn to wait
        await until(lambda: node._writes._written == 2)
        node._writes.drop("on purpose")
        for write in (first, second):
            with pytest.raises(RedisUnavailableError, match="on purpose"):
                await write
        await until(node._writes._link.connected.is_set)
        replica.thaw()
        await node.write(Budget(5), b"SET", b"k", b"w")


async def test_without_replicas_nothing_is_waited_for(redis: RedisServer) -> None:
    async with noded(maker(redis.port)) as (node, _):
        assert await node.write(Budget(), b"SET", b"k", b"v") == b"OK"
        assert not node._writes._link.connected.is_set()
