"""The number of stored models and their approximate size, on a single Redis and on a Cluster."""

import pytest

from proxy.errors import RedisUnavailableError
from proxy.store.redis_census import Census, census
from tests.support.in_process import Stack
from tests.support.servers.redis import RedisServer

PATTERN = b"media:model:*"


async def test_it_counts_models_and_estimates_their_bytes(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        store = process.core.store
        assert store is not None
        assert await census(store.topology, PATTERN, 5.0) == Census(0, None, complete=True)
        for number in range(500):
            await process.read("User", number)
        await redis.cli("SET", "media:id:1", "1 User")
        await redis.cli("SET", "others", "x")
        found = await census(store.topology, PATTERN, 5.0)
        assert (found.models, found.complete) == (500, True)
        assert found.bytes is not None
        assert 500 * 100 < found.bytes < 500 * 1000


async def test_what_takes_too_long_is_a_least_number(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        for number in range(500):
            await process.read("User", number)
        assert process.core.store is not None
        found = await census(process.core.store.topology, PATTERN, 0.0)
        assert not found.complete
        assert found.models < 500


async def test_a_redis_that_is_away_is_no_empty_one(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr) as stack:
        process = await stack.process()
        own_redis.kill()
        assert process.core.store is not None
        with pytest.raises(RedisUnavailableError):
            await census(process.core.store.topology, PATTERN, 5.0)
