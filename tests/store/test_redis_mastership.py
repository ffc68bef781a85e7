"""Whether a server is still the master, judged by its replicas, by new connections to its address, and by pings."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.errors import RedisUnavailableError
from proxy.store import redis_mastership, replication
from proxy.store.redis_node import Budget, Node
from tests.support.redis_parts import Told, maker, noded
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until

SETTLING = 0.5
BUSY = 2.0


@asynccontextmanager
async def _pair(master: RedisServer, settling: float = SETTLING) -> AsyncIterator[tuple[Node, Told, RedisServer]]:
    """A node whose server has a replica to judge by."""
    async with RedisServer(replica_of=master) as replica:

        async def in_sync() -> bool:
            return bool((await replica.info("replication"))["master_link_status"] == "up")

        await until(in_sync, "the replica to be in sync")
        await master.cli("SET", "k", "something to acknowledge")
        async with noded(maker(master.port), settling=settling) as (node, told):
            await until(lambda: node._mastership._following.watched, "the replica to be known")
            yield node, told, replica


async def _written(node: Node) -> bool:
    try:
        await node.write(Budget(5), b"SET", b"k", b"v")
    except RedisUnavailableError:
        return False
    return True


async def test_a_write_counts_while_the_replica_follows(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, _, _):
        assert await node.write(Budget(5), b"SET", b"k", b"v") == b"OK"


async def test_many_at_once_share_the_look(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, _, _):
        await own_redis.cli("CONFIG", "RESETSTAT")
        await asyncio.gather(*[node.write(Budget(5), b"SET", b"k%d" % number, b"v") for number in range(200)])
        assert (await own_redis.info("commandstats"))["cmdstat_info"]["calls"] < 50


async def test_a_write_to_one_that_has_just_lost_its_replica_does_not_count(own_redis: RedisServer) -> None:
    async with _pair(own_redis, settling=60.0) as (node, told, replica):
        node._pings.wake.clear()
        replica.kill()

        async def gone() -> bool:
            return bool((await own_redis.info("replication"))["connected_slaves"] == 0)

        await until(gone, "the master to notice")
        with pytest.raises(RedisUnavailableError, match="may not be the master any more"):
            await node.write(Budget(5), b"SET", b"k", b"v")
        assert not node.usable
        assert "may not be the master any more" in node.trouble
        assert [up for up, _ in told.changes] == [True, False]
        await replica.start()
        await until(lambda: node.usable, "the replica to be back")
        assert await _written(node)


async def test_one_that_its_address_still_names_after_a_while_counts(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_mastership, "_LOOK_IN_DOUBT_EVERY", 0.05)
    async with _pair(own_redis) as (node, _, replica):
        with caplog.at_level(logging.WARNING):
            replica.kill()
            await until(lambda: not node.usable, "the loss to be noticed")
            await until(lambda: node.usable, "the master to be believed")
        assert "no longer wait for its replica" in caplog.text
        assert await _written(node)


async def test_a_frozen_replica_holds_invalidations_up_for_a_while_and_no_read(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "_SILENT_FROM", 2)
    async with _pair(own_redis, settling=1.0) as (node, told, replica):
        replica.freeze()

        async def refused() -> bool:
            return not await _written(node)

        await until(refused, "a write to wait for the replica")
        assert node.usable
        await until(lambda: _written(node), "the replica to be forgotten")
        assert [up for up, _ in told.changes] == [True]
        replica.thaw()


async def test_a_tool_that_reads_the_stream_is_no_replica(own_redis: RedisServer) -> None:
    tool = await asyncio.create_subprocess_exec(
        "redis-cli", "-p", str(own_redis.port), "--replica", stdout=asyncio.subprocess.DEVNULL
    )
    try:

        async def online() -> bool:
            return any(
                each.get("state") == "online"
                for each in (await own_redis.info("replication")).values()
                if isinstance(each, dict)
            )

        await until(online, "the tool to be taken for a replica by Redis")
        async with noded(maker(own_redis.port)) as (node, told):
            assert await _written(node)
            tool.kill()
            await tool.wait()
            assert await _written(node)
            assert [up for up, _ in told.changes] == [True]
    finally:
        if tool.returncode is None:
            tool.kill()
            await tool.wait()


async def test_an_address_that_leads_elsewhere_is_followed(
    own_redis: RedisServer, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_mastership, "_LOOK_IN_DOUBT_EVERY", 0.05)
    async with FaultyTcp(own_redis.port) as way, noded(maker(way.port), look_every=0.1) as (node, told):
        first = node.run_id
        way.target = ("127.0.0.1", redis.port)
        await until(lambda: node.run_id != first and node.usable, "the new server")
        assert len(told.renewals) == 2
        assert told.renewals[1] is not None
        way.target = ("127.0.0.1", own_redis.port)
        await until(lambda: node.run_id == first and node.usable, "the first server")
        assert told.renewals[2] is None  # nobody here knows what it has missed meanwhile


async def test_an_address_that_leads_to_two_servers_in_turn_is_not_relied_on(
    own_redis: RedisServer, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Service in front of two unrelated servers: the other one still serves what one was told to invalidate."""
    monkeypatch.setattr(redis_mastership, "_LOOK_IN_DOUBT_EVERY", 0.05)
    targets = itertools.cycle((own_redis, redis))
    async with FaultyTcp(own_redis.port) as way, noded(maker(way.port), look_every=0.1) as (node, told):
        connect = way.connected_to

        def next_one() -> tuple[str, int]:
            return "127.0.0.1", next(targets).port

        monkeypatch.setattr(way, "connected_to", next_one)
        await until(lambda: "different servers at different times" in node.trouble, "the two to be noticed")
        assert not node.usable
        assert not await _written(node)
        changes, renewals = len(told.changes), len(told.renewals)
        looked_at = node._mastership._looked_at
        await until(lambda: node._mastership._looked_at > looked_at + 1.0, "some looks more")
        assert (len(told.changes), len(told.renewals)) == (changes, renewals)  # one log line, no new connections
        monkeypatch.setattr(way, "connected_to", connect)
        await until(lambda: node.usable, "one server to be found ten times in a row")
        assert await _written(node)


async def test_an_address_is_looked_at_each_second_where_nobody_else_says_who_is_master(
    own_redis: RedisServer, redis: RedisServer
) -> None:
    async with FaultyTcp(own_redis.port) as way, noded(maker(way.port)) as (node, _):
        first = node.run_id
        await way.connected(3)
        way.target = ("127.0.0.1", redis.port)
        moved = time.monotonic()
        await until(lambda: node.run_id != first and node.usable, "the new server")
        assert time.monotonic() - moved < 2.0 + BUSY


async def test_a_new_connection_that_cannot_be_made_changes_nothing(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_mastership, "_LOOK_IN_DOUBT_EVERY", 0.05)
    async with noded(maker(own_redis.port), look_every=0.1) as (node, told):
        await own_redis.cli("CONFIG", "SET", "maxclients", "1")
        looked_at = node._mastership._looked_at
        await until(lambda: node._mastership._looked_at > looked_at + 0.3, "some looks")
        assert await _written(node)
        assert [up for up, _ in told.changes] == [True]


async def test_a_write_that_another_server_took_over_from_does_not_count(
    own_redis: RedisServer, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reply has arrived, but before the check of the master, the link connects to another server."""
    async with FaultyTcp(own_redis.port) as way, noded(maker(way.port)) as (node, _):
        first = node.run_id
        proven = node._mastership.proven

        async def late(mastership: object, timeout: float) -> None:
            way.target = ("127.0.0.1", redis.port)
            node.drop("on purpose")
            await until(lambda: node.run_id != first and node.usable)
            await proven(timeout)

        monkeypatch.setattr(redis_mastership.Mastership, "proven", late)
        with pytest.raises(RedisUnavailableError, match="another Redis"):
            await node.write(Budget(30), b"SET", b"k", b"v")


async def test_one_connection_is_all_there_is(own_redis: RedisServer) -> None:
    async with _pair(own_redis) as (node, _, _):
        assert await _written(node)

        async def alone() -> bool:
            async with own_redis.client() as client:
                return len(await client.client_list(_type="normal")) == 2  # including this one

        await until(alone, "no connection beside the one")
