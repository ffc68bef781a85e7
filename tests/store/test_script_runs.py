"""Scripts run where their keys are while a slot of a real Cluster moves, for each way to run a script."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.crc import key_slot

from proxy.errors import RedisUnavailableError
from proxy.store.event_record import EventRecord
from proxy.store.redis_node import Budget, Node
from proxy.store.redis_scripts import Script
from proxy.store.redis_store import RedisStore
from proxy.store.script_runs import run_script
from tests.support.redis_parts import storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.waiting import until

LIST = Script("list")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster("cluster-require-full-coverage no")
    try:
        with asyncio.Runner() as runner:
            runner.run(cluster.start())
        yield cluster
    finally:
        cluster.remove()


@asynccontextmanager
async def _moving(cluster: RedisCluster, key: bytes, target: RedisServer) -> AsyncIterator[RedisServer]:
    """The slot of a key is moving, and its owner no longer has the key. On exit, the move is completed."""
    slot, source = key_slot(key), await cluster.owner(key)
    source_id, target_id = [await each.cli("CLUSTER", "MYID") for each in (source, target)]
    await target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    await source.cli("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    yield source
    for server in (target, *cluster.servers):
        await server.cli("CLUSTER", "SETSLOT", slot, "NODE", target_id)


async def _other(cluster: RedisCluster, key: bytes) -> RedisServer:
    owner = await cluster.owner(key)
    return next(server for server in cluster.servers if server is not owner)


async def _run(store: RedisStore, key: bytes) -> object:
    """Counts the fields of a hash by a script."""
    reply = await run_script(store.topology, LIST, (key,), lambda node: (b"9", b"9", b"9"), Budget(5))
    assert isinstance(reply, list)
    return reply[1]


async def test_a_slot_that_moves_is_followed_at_each_stage(cluster: RedisCluster) -> None:
    async with storing(cluster.addr) as store:
        key = b"one"
        target = await _other(cluster, key)
        await (await cluster.owner(key)).cli("HSET", key, "a", "1", "b", "2")
        async with _moving(cluster, key, target):
            assert await _run(store, key) == 2  # by ASK
        assert await _run(store, key) == 2  # by MOVED


async def test_what_proxies_know_together_is_there_while_its_slot_moves(cluster: RedisCluster) -> None:
    async with storing(cluster.addr) as store:
        record = EventRecord(store.topology, "moving")
        missing = ((30.0, 29.0), (20.0, 19.0))
        await record.exchange(heard_ago=None, missing=missing, enough=3, over=10.0, listened=10.0)
        async with _moving(cluster, b"moving:events", await _other(cluster, b"moving:events")):
            told = await record.exchange(heard_ago=None, missing=((12.0, 11.0),), enough=3, over=10.0, listened=10.0)
            assert told.silent
        told = await record.exchange(heard_ago=1.0, missing=(), enough=3, over=10.0, listened=10.0)
        assert not told.silent


async def test_its_arguments_are_those_for_the_node_that_is_asked(cluster: RedisCluster) -> None:
    key, asked = b"whose", list[Node]()

    def arguments(node: Node) -> tuple[bytes, ...]:
        asked.append(node)
        return b"9", b"9", b"9"

    async with storing(cluster.addr) as store:
        target = await _other(cluster, key)
        await (await cluster.owner(key)).cli("HSET", key, "a", "1")
        async with _moving(cluster, key, target) as source:
            await run_script(store.topology, LIST, (key,), arguments, Budget(5))
    assert [node.name.rpartition(":")[2] for node in asked][-2:] == [str(source.port), str(target.port)]


async def test_a_script_that_the_server_does_not_have_is_sent(redis: RedisServer) -> None:
    async with storing(redis.addr) as store:
        await redis.cli("SCRIPT", "FLUSH")
        assert await _run(store, b"none") == 0
        assert await redis.cli("SCRIPT", "EXISTS", LIST.sha) == [1]


async def test_a_slot_that_never_arrives_is_given_up(cluster: RedisCluster) -> None:
    """Each of the two nodes redirects to the other."""
    key = b"to and fro"
    source, target = await cluster.owner(key), await _other(cluster, key)
    async with storing(cluster.addr) as store:
        await source.cli("CLUSTER", "SETSLOT", key_slot(key), "MIGRATING", await target.cli("CLUSTER", "MYID"))
        try:
            with pytest.raises(RedisUnavailableError, match="moving"):
                await _run(store, key)
        finally:
            await source.cli("CLUSTER", "SETSLOT", key_slot(key), "STABLE")
        assert await _run(store, key) == 0


async def test_without_a_node_it_says_so(own_redis: RedisServer) -> None:
    own_redis.kill()
    async with storing(own_redis.addr, up=False) as store:
        with pytest.raises(RedisUnavailableError):
            await _run(store, b"none")
        await until(lambda: store.trouble)
