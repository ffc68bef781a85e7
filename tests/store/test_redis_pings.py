"""Only a server that accepts invalidations counts as usable; an answered ping is not enough."""

import pytest

from proxy.errors import RedisRefusedError
from proxy.store.redis_node import Budget
from proxy.store.redis_store import _SCRIPTS
from tests.support.redis_parts import KEYS, maker, noded
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def test_a_refusal_opens_the_breaker_and_a_write_that_is_taken_closes_it(own_redis: RedisServer) -> None:
    async with noded(maker(own_redis.port), *_SCRIPTS, probed=True) as (node, told):
        await own_redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
        await until(lambda: not node.usable, "the refusal")
        assert "NOREPLICAS" in told.changes[-1][1]
        assert "NOREPLICAS" in node.trouble
        await own_redis.cli("CONFIG", "SET", "min-replicas-to-write", "0")
        await until(lambda: node.usable, "a write that is taken")
        assert node.trouble == ""


async def test_an_invalidation_that_is_refused_is_enough(own_redis: RedisServer) -> None:
    async with noded(maker(own_redis.port)) as (node, told):
        await own_redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(RedisRefusedError):
            await node.write(Budget(5), b"SET", b"k", b"v")
        assert [up for up, _ in told.changes][:2] == [True, False]
        assert "accepts no invalidations: NOREPLICAS" in told.changes[1][1]


async def test_one_that_refuses_from_the_start_is_never_up(own_redis: RedisServer) -> None:
    await own_redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
    async with noded(maker(own_redis.port), *_SCRIPTS, probed=True, up=False) as (node, told):
        await until(lambda: told.changes, "its words")
        assert "NOREPLICAS" in told.changes[0][1]
        assert not node.usable


async def test_scripts_that_were_flushed_are_no_refusal(redis: RedisServer) -> None:
    async with noded(maker(redis.port), *_SCRIPTS, probed=True) as (node, told):
        await redis.cli("SCRIPT", "FLUSH")
        await node._pings._once()
        assert node.usable
        assert [up for up, _ in told.changes] == [True]


async def test_it_leaves_nothing_behind(redis: RedisServer) -> None:
    async with noded(maker(redis.port), *_SCRIPTS, probed=True):
        assert await redis.cli("KEYS", f"{KEYS.probe_prefix.decode()}*") == []
