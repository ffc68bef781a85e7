"""A flush takes every matching key once, in as many scripts as its server needs."""

import pytest

from proxy.errors import RedisUnavailableError
from proxy.store.redis_flush import Progress, flush
from proxy.store.redis_node import Budget
from tests.support.redis_parts import body_of, cached, maker, noded, request_key, storing
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster


async def test_many_keys_go_in_few_scripts(redis: RedisServer) -> None:
    batches: list[tuple[bytes, ...]] = []

    async def invalidate(keys: tuple[bytes, ...]) -> int:
        batches.append(keys)
        return len(keys)

    async with noded(maker(redis.port)) as (node, _):
        for number in range(500):
            await node.ask(Budget(5), b"SET", b"media:model:%d" % number, b"")
        assert await flush((node,), b"media:model:*", invalidate) >= 500
    assert {key for keys in batches for key in keys} == {b"media:model:%d" % number for number in range(500)}
    assert len(batches) < 50


async def test_it_says_how_far_it_is(redis: RedisServer) -> None:
    progress, seen = Progress(), list[tuple[float, int]]()

    async def invalidate(keys: tuple[bytes, ...]) -> int:
        seen.append((progress.share or 0.0, progress.tags))
        return len(keys)

    async with noded(maker(redis.port)) as (node, _):
        for number in range(2000):
            await node.ask(Budget(5), b"SET", b"media:model:%d" % number, b"")
        assert await flush((node,), b"media:model:*", invalidate, progress) == progress.tags >= 2000
    assert seen == sorted(seen)
    assert seen[0] == (0.0, 0)
    assert abs(seen[len(seen) // 2][0] - 0.5) < 0.2
    assert progress.share is None


async def test_without_a_master_nothing_is_flushed() -> None:
    async def invalidate(keys: tuple[bytes, ...]) -> int:
        raise AssertionError

    with pytest.raises(RedisUnavailableError):
        await flush((), b"*", invalidate)


async def test_a_cluster_of_one_master_may_be_used_as_one_server(caplog: pytest.LogCaptureFixture) -> None:
    keys = [request_key(number) for number in range(20)]
    async with RedisCluster(masters=1) as cluster, storing(cluster.servers[0].addr) as store:
        assert "write redis+cluster://" in caplog.text
        for key in keys:
            await cached(store, key)
        assert await store.flush() == len(keys)
        assert [await body_of(store, key) for key in keys] == [None] * len(keys)
