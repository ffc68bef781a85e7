"""Fetches while another process fetches the same answer."""

import asyncio

import pytest
from grpc import StatusCode

from proxy.caching import fetches
from proxy.store import redis_store
from proxy.store.redis_node import Budget
from tests.support.in_process import READ, Stack, read_call
from tests.support.servers.redis import RedisServer


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, upstream's answer comes before the wait for another process' fill is over."""
    monkeypatch.setattr(fetches, "_FILL_WAIT", 60.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetches, "_FILL_WAIT", 0.02)


def test_the_wait_for_anothers_fill() -> None:
    assert fetches._FILL_WAIT == 0.150


@pytest.mark.usefixtures("patient")
async def test_a_stampede_on_two_processes_is_one_fetch(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        first, second = await stack.process(), await stack.process()
        gate = stack.media.hold(READ)
        leader = first.reading()
        await gate.reached()
        followers = [second.reading() for _ in range(50)]
        await second.all_waiting(50)
        gate.open()
        seen = await asyncio.gather(*followers)
        assert {(one.x_cache, one.age) for one in seen} == {("coalesced", 0)}
        assert (await leader).x_cache == "miss"
        assert stack.fetches == 1


@pytest.mark.usefixtures("impatient")
async def test_behind_a_slow_fetch_another_process_forwards_once_and_stores_nothing(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        first, second = await stack.process(), await stack.process()
        stack.media.add("User", 1)
        gate = stack.media.hold(READ)
        leader = first.reading()
        await gate.reached()
        others = [second.reading() for _ in range(20)]
        await gate.reached(2)
        gate.open()
        seen = await asyncio.gather(*others)
        assert sorted(one.x_cache for one in seen) == ["coalesced"] * 19 + ["miss"]
        own = await leader
        assert stack.fetches == 2
        found = await first.found()
        assert found is not None
        assert found.entry.body == own.reply.body != seen[0].reply.body


@pytest.mark.usefixtures("patient")
async def test_a_dead_holders_lease_is_taken_over(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "LEASE_MS", 100)
    async with Stack(redis.addr) as stack:
        dead, process = await stack.process(), await stack.process()
        key, _ = dead.core.cache._key_of(read_call())
        assert dead.core.store is not None
        assert key is not None
        assert (await dead.core.store.acquire(key, Budget())).kind == "lease"
        readers = [process.reading() for _ in range(5)]
        seen = await asyncio.gather(*readers)
        assert sorted(one.x_cache for one in seen) == ["coalesced"] * 4 + ["miss"]
        assert stack.fetches == 1
        assert await dead.x_cache() == "hit"


@pytest.mark.usefixtures("patient")
async def test_a_lease_that_was_taken_over_in_vain_is_given_back(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        dead, process = await stack.process(), await stack.process()
        key, _ = dead.core.cache._key_of(read_call())
        assert dead.core.store is not None
        assert key is not None
        monkeypatch.setattr(redis_store, "LEASE_MS", 100)
        assert (await dead.core.store.acquire(key, Budget())).kind == "lease"
        monkeypatch.setattr(redis_store, "LEASE_MS", 60_000)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        assert (await process.read()).code is StatusCode.UNAVAILABLE
        stack.media.heal()
        assert [await dead.x_cache(), await process.x_cache()] == ["miss", "hit"]


@pytest.mark.usefixtures("patient")
async def test_redis_freezing_during_the_wait_for_a_fill(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        first, second = await stack.process(), await stack.process()
        gate = stack.media.hold(READ)
        leader = first.reading()
        await gate.reached()
        follower = second.reading()
        await second.all_waiting(1)
        own_redis.freeze()
        await gate.reached(2)
        gate.open()
        assert (await follower).x_cache == "miss"
        assert (await leader).x_cache == "miss"
        own_redis.thaw()


@pytest.mark.usefixtures("patient")
async def test_the_wait_for_a_fill_ends_with_an_invalidation(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        first, second = [await stack.process(cache_event_window=60.0) for _ in range(2)]
        gate = stack.media.hold(READ)
        leader = first.reading()
        await gate.reached()
        follower = second.reading()
        await second.all_waiting(1)
        await first.event()
        await gate.reached(2)
        gate.open()
        assert [one.x_cache for one in (await leader, await follower)] == ["miss", "miss"]
