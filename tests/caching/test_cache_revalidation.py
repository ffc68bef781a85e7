"""Stale answers while a fresh one is fetched in the background."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from proxy.caching import cache
from tests.caching.test_cache_stale import TTL, run_out_of_time, with_stale_entry
from tests.support.in_process import READ, Stack, no_lease_left
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def test_while_revalidating_a_stale_answer_comes_at_once_and_one_fetch_follows(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_while_revalidate=600.0)
        assert process.core.store is not None
        stack.media.add("User", 1)
        before = stack.fetches
        gate = stack.media.hold(READ)
        asked = 0
        original = process.core.store.acquire

        async def acquire(*args: Any, **named: Any) -> Any:
            nonlocal asked
            asked += 1
            return await original(*args, **named)

        monkeypatch.setattr(process.core.store, "acquire", acquire)
        for _ in range(20):
            seen = await process.read(deadline=60.0)
            assert (seen.x_cache, seen.age, seen.ids) == ("stale", 0, [])
        await gate.reached()
        assert asked == 1
        remaining = stack.media.calls[-1].time_remaining
        assert remaining is not None
        assert remaining < 30.0  # its own 10 s, not the caller's deadline
        gate.open()
        await until(lambda: process.core.cache._refreshes == {}, "the refresh to end")
        assert (await process.read()).ids == [1]
        assert stack.fetches - before <= 2  # a second one if the new entry is stale again by now


async def test_two_processes_revalidate_with_one_fetch(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        first = await with_stale_entry(stack, cache_stale_while_revalidate=600.0)
        second = await stack.process(cache_ttl=TTL, cache_stale_while_revalidate=600.0)
        before = stack.fetches
        gate = stack.media.hold(READ)
        assert await first.x_cache() == "stale"
        await gate.reached()
        assert await second.x_cache() == "stale"
        await until(lambda: second.core.cache._refreshes == {}, "the other process to see that one fetches")
        assert stack.fetches == before + 1
        gate.open()


async def test_a_revalidation_that_fails_leaves_nothing_behind(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_while_revalidate=600.0)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        assert await process.x_cache() == "stale"
        await until(lambda: process.core.cache._refreshes == {}, "the refresh to end")
        await no_lease_left(redis)
        assert process.flights == 0
        assert await process.x_cache() == "stale"


async def test_an_invalidation_during_a_revalidation_ends_staleness(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_while_revalidate=600.0)
        gate = stack.media.hold(READ, "answer")
        assert await process.x_cache() == "stale"
        await gate.reached()
        stack.media._gates.clear()
        stack.media.add("User", 1)
        await process.event()
        seen = await process.read()
        assert (seen.x_cache, seen.ids) == ("miss", [1])
        gate.open()
        await until(lambda: process.core.cache._refreshes == {}, "the refresh to end")
        assert (await process.read()).ids == [1]


async def test_revalidations_are_bounded_and_end_with_the_process(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MOST_REFRESHES", 2)
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_ttl=TTL, cache_stale_while_revalidate=600.0)
        for model_id in range(1, 6):
            await run_out_of_time(stack, process, model_id=model_id)
        gate = stack.media.hold(READ)
        for model_id in range(1, 6):
            assert await process.x_cache(model_id=model_id) == "stale"
        await gate.reached(2)
        assert len(process.core.cache._refreshes) == 2
        async with asyncio.timeout(5):  # less than a refresh may take
            await process.core.cache.close()
        assert process.core.cache._refreshes == {}
        assert process.flights == 0
        assert gate.arrived == 2
