"""Stale answers while upstream is unavailable."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from proxy.caching import cache
from tests.support.in_process import READ, UPLOAD, Process, Stack, no_lease_left
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

TTL = 0.05


async def with_stale_entry(stack: Stack, **settings: Any) -> Process:
    """A process with one entry that has expired but was not invalidated: the files of user 1 are []."""
    process = await stack.process(cache_ttl=TTL, **settings)
    await run_out_of_time(stack, process)
    return process


async def run_out_of_time(stack: Stack, process: Process, **named: Any) -> None:
    """Makes an entry that has expired both by Redis' clock, by which leases are given, and by the process' estimate of
    that clock, by which reads are judged.
    """

    async def stored() -> bool:
        await process.read(**named)  # on a slow machine the entry may expire before the answer is there
        return await process.stored(**named) is not None

    await until(stored, "an answer to be stored")
    filled = await stack.now_ms()

    async def over() -> bool:
        return await stack.now_ms() > filled + TTL * 1000 and await process.found(**named) is None

    await until(over, "the entry's time to be over")


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED])
async def test_a_stale_answer_stands_in_while_upstream_is_away(redis: RedisServer, code: StatusCode) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        stack.media.add("User", 1)
        stack.media.fail(READ, code)
        seen = await process.read()
        assert (seen.code, seen.x_cache, seen.age, seen.ids) == (StatusCode.OK, "stale", 0, [])
        assert process.metric("media_cache_requests_total", method=READ, result="stale", tier="redis") == 1
        await no_lease_left(redis)
        stack.media.heal()
        back = await process.read()
        assert (back.x_cache, back.ids) == ("miss", [1])


async def test_a_stale_answers_age_counts_from_its_fetch(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)

        async def a_second_old() -> bool:
            seen = await process.read()
            assert (seen.x_cache, seen.code) == ("stale", StatusCode.OK)
            return seen.age == 1

        await until(a_second_old, "an age of 1 s", timeout=5)


@pytest.mark.parametrize("code", [StatusCode.INTERNAL, StatusCode.PERMISSION_DENIED, StatusCode.RESOURCE_EXHAUSTED])
async def test_other_failures_are_passed_on(redis: RedisServer, code: StatusCode) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        stack.media.fail(READ, code)
        seen = await process.read()
        assert (seen.code, seen.x_cache) == (code, "miss")


async def test_upstream_refusing_in_its_own_words_is_passed_on(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        stack.media.unsuccessful[READ] = "database away"
        seen = await process.read()
        assert (seen.x_cache, seen.response.message) == ("miss", "database away")


async def test_no_cache_gets_no_stale_answer(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_while_revalidate=60.0)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        seen = await process.read(metadata=(("cache-control", "no-cache"),))
        assert (seen.code, seen.x_cache) == (StatusCode.UNAVAILABLE, "miss")


@pytest.mark.parametrize("how", ["event", "write", "flush", "held back"])
async def test_an_invalidated_answer_never_stands_in(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It does not even stand in for a read that began earlier and found the entry."""
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_while_revalidate=0.0)
        gate = stack.media.hold(READ)
        reading = process.reading()
        await gate.reached()
        if how == "event":
            await process.event()
        elif how == "write":
            await process.upload()
        elif how == "flush":
            await process.core.invalidations.flush("asked for")
        else:
            monkeypatch.setattr(process.core.cache, "_held_back", lambda *_: True)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        gate.open()
        for seen in (await reading, await process.read()):
            assert (seen.code, seen.x_cache) == (StatusCode.UNAVAILABLE, "miss")
        assert stack.media.count(UPLOAD) == (how == "write")


async def test_an_answer_that_another_process_stored_meanwhile_is_better_than_a_stale_one(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process, other = await with_stale_entry(stack), await stack.process()
        gate = stack.media.hold(READ)
        reading = process.reading()
        await gate.reached()
        stack.media._gates.clear()
        stack.media.add("User", 1)
        assert await other.x_cache(metadata=(("cache-control", "no-cache"),)) == "miss"
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        gate.open()
        seen = await reading
        assert (seen.x_cache, seen.ids) == ("hit", [1])


async def test_no_answer_stands_in_past_the_allowance(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_if_error=0.3, cache_stale_while_revalidate=0.0)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)

        async def passed_on() -> bool:
            return (await process.read()).code is StatusCode.UNAVAILABLE

        await until(passed_on, "the allowance to end", timeout=5)


async def test_the_allowance_is_counted_when_the_answer_is_given(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        gate = stack.media.hold(READ)
        reading = process.reading()
        await gate.reached()
        process.core.cache.policy.stale_if_error = 0.0  # as if upstream had taken longer than that to fail
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        gate.open()
        assert (await reading).code is StatusCode.UNAVAILABLE


async def test_the_revalidation_allowance_is_none_for_errors(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack, cache_stale_if_error=0.0, cache_stale_while_revalidate=600.0)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        process.core.cache.policy.stale_while_revalidate = 0.0  # as if that time had passed
        assert (await process.read()).code is StatusCode.UNAVAILABLE


async def test_no_answer_stands_in_past_its_urls_life(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1)
        stack.media.url_expires = 4  # not served more than 3.6 s after the second in which it was signed
        process = await with_stale_entry(stack, cache_stale_while_revalidate=0.0)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)

        async def passed_on() -> bool:
            return (await process.read()).code is StatusCode.UNAVAILABLE

        await until(passed_on, "the URL's life to end", timeout=10)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stale answers come after a tenth of the caller's time, so that a slow machine changes nothing."""
    monkeypatch.setattr(cache, "_TIME_FOR_STALE", 60.0)
    monkeypatch.setattr(cache, "_SHARE_FOR_STALE", 0.9)


def test_how_early_a_stale_answer_comes() -> None:
    assert (cache._TIME_FOR_STALE, cache._SHARE_FOR_STALE) == (0.100, 0.1)


@pytest.mark.usefixtures("early")
async def test_with_upstream_frozen_a_stale_answer_comes_before_the_deadline(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        gate = stack.media.hold(READ)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 3.0
        seen = await process.read(deadline=3.0)
        assert (seen.code, seen.x_cache, seen.ids) == (StatusCode.OK, "stale", [])
        assert loop.time() < deadline
        await until(lambda: stack.media.calls[-1].ended == "cancelled", "the fetch that nobody waits for to end")
        assert gate.arrived == 1
        await no_lease_left(redis)


@pytest.mark.usefixtures("early")
async def test_a_fetch_given_up_for_a_stale_answer_goes_on_for_others(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        before = stack.fetches
        gate = stack.media.hold(READ)
        leader = process.reading(deadline=3.0)
        await gate.reached()
        patient = process.reading()
        await process.all_waiting(2)
        assert (await leader).x_cache == "stale"
        assert process.flights == 1
        gate.open()
        assert (await patient).x_cache == "coalesced"
        assert stack.fetches == before + 1


@pytest.mark.usefixtures("early")
async def test_given_up_in_vain_it_is_a_deadline_exceeded(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        gate = stack.media.hold(READ)
        reading = process.reading(deadline=3.0)
        await gate.reached()
        await process.event()
        seen = await reading
        assert (seen.code, seen.x_cache) == (StatusCode.DEADLINE_EXCEEDED, "miss")


async def test_a_leaders_short_deadline_makes_no_follower_stale(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await with_stale_entry(stack)
        gate = stack.media.hold(READ)
        # The leader asks for a fresh answer, so that nothing stands in and its deadline cuts the fetch.
        leader = process.reading(deadline=1.0, metadata=(("cache-control", "no-cache"),))
        await gate.reached()
        follower = process.reading()
        await process.all_waiting(2)
        assert (await leader).code is StatusCode.DEADLINE_EXCEEDED
        await gate.reached(2)
        gate.open()
        assert (await follower).x_cache == "miss"
