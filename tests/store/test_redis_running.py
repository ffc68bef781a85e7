"""A script follows its key to where it is: also one that is not loaded there, and of a slot on its way."""

import pytest
from redis.crc import key_slot

from proxy.errors import RedisUnavailableError
from proxy.store.event_record import EventRecord
from proxy.store.redis_node import Budget
from proxy.store.redis_running import run_script
from proxy.store.redis_scripts import Script
from tests.support.redis_parts import storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster

EVENTS = Script("events")
_KEY = b"media:events"


async def test_one_that_is_not_loaded_is_sent_whole(redis: RedisServer) -> None:
    async with storing(redis.addr) as store:
        arguments = b"", b"0", b"3", b"10000", b"an id", b"60000"
        found = await run_script(store.topology, EVENTS, (_KEY,), lambda _: arguments, Budget(5))
        assert found == [0, -1, b"an id"]


async def test_without_a_node_there_is_nobody_to_ask(redis: RedisServer) -> None:
    async with storing("redis://127.0.0.1:1", up=False) as store:
        with pytest.raises(RedisUnavailableError):
            await run_script(store.topology, EVENTS, (_KEY,), lambda _: (), Budget(5))


async def test_the_record_of_events_is_found_while_its_slot_moves() -> None:
    """The new owner takes it only with ASKING before; asked without, both owners send each other's way."""
    async with RedisCluster() as cluster, storing(cluster.addr) as store:
        record = EventRecord(store.topology, "media")
        source = await cluster.owner(_KEY)
        target = next(server for server in cluster.servers if server is not source)
        ids = [(await server.cli("CLUSTER", "MYID")).decode() for server in (source, target)]
        await target.cli("CLUSTER", "SETSLOT", key_slot(_KEY), "IMPORTING", ids[0])
        await source.cli("CLUSTER", "SETSLOT", key_slot(_KEY), "MIGRATING", ids[1])
        told = await record.exchange(heard_ago=1.0, missing=(), judge=False, enough=3, over=10.0)
        assert told.heard_ago is not None
        assert await target.cli("CLUSTER", "COUNTKEYSINSLOT", key_slot(_KEY)) == 1
