"""Statuses other than OK that a policy stores: they are served as they came, and removed like any answer."""

import asyncio
from pathlib import Path

import pytest
from grpc import StatusCode

from tests.support.in_process import READ, Process, Stack, read_call
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import media_policy_in

KEPT = "{NOT_FOUND: 1m, INVALID_ARGUMENT: 1m}"


async def process_with(stack: Stack, directory: Path, negative: str = KEPT, more: str = "") -> Process:
    return await stack.process(policy=media_policy_in(directory, f"negative_ttl: {negative}{more}"))


async def test_a_status_is_found_again_with_its_details(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(stack, tmp_path)
        stack.media.fail(READ, StatusCode.NOT_FOUND, "no such user")
        first, second = await process.read(), await process.read()
        assert [first.x_cache, second.x_cache] == ["miss", "hit"]
        assert (second.code, second.reply.details, second.age) == (StatusCode.NOT_FOUND, "no such user", 0)
        assert stack.media.count(READ) == 1
        assert process.metric("media_cache_requests_total", method=READ, result="hit", tier="redis") == 1


@pytest.mark.parametrize(
    ("negative", "code"),
    [("{}", StatusCode.NOT_FOUND), (KEPT, StatusCode.UNAVAILABLE), (KEPT, StatusCode.OUT_OF_RANGE)],
)
async def test_what_the_policy_does_not_name_is_not_kept(
    redis: RedisServer, tmp_path: Path, negative: str, code: StatusCode
) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(stack, tmp_path, negative)
        stack.media.fail(READ, code)
        assert [(await process.read()).x_cache for _ in range(2)] == ["miss", "miss"]


async def test_an_invalidation_removes_it(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(stack, tmp_path)
        stack.media.fail(READ, StatusCode.NOT_FOUND)
        assert [(await process.read()).x_cache for _ in range(2)] == ["miss", "hit"]
        stack.media.heal()
        await process.upload()
        assert (await process.read()).code is StatusCode.OK


async def test_it_never_stands_in_past_its_time(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(
            stack, tmp_path, "{NOT_FOUND: 50ms}", ", stale_if_error: 1h, stale_while_revalidate: 1h"
        )
        stack.media.fail(READ, StatusCode.NOT_FOUND)
        assert (await process.read()).x_cache == "miss"
        stack.media.fail(READ, StatusCode.UNAVAILABLE)

        async def over() -> bool:
            return (await process.read()).code is StatusCode.UNAVAILABLE

        await until(over, "its time to be over")


async def test_another_process_has_it_too_and_a_large_one_nobody(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(stack, tmp_path)
        other = await process_with(stack, tmp_path)
        stack.media.fail(READ, StatusCode.NOT_FOUND)
        gate = stack.media.hold(READ)
        leader = process.reading()
        await gate.reached()
        waiting = other.reading()
        stack.media.release(READ)
        both = await asyncio.gather(leader, waiting)
        assert [each.code for each in both] == [StatusCode.NOT_FOUND] * 2
        assert await other.x_cache() == "hit"
        stack.media.fail(READ, StatusCode.NOT_FOUND, "x" * 9000)
        assert [(await process.read(model_id=2)).x_cache for _ in range(2)] == ["miss", "miss"]


async def test_another_time_for_it_is_another_policy(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(stack, tmp_path)
        other = await process_with(stack, tmp_path, "{NOT_FOUND: 2m, INVALID_ARGUMENT: 1m}")
        stack.media.fail(READ, StatusCode.NOT_FOUND)
        assert [await process.x_cache(), await other.x_cache(), await other.x_cache()] == ["miss", "miss", "hit"]


async def test_shadow_mode_tells_where_something_is_there_by_now(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await process_with(stack, tmp_path)
        process.core.cache.policy.mode = "shadow"
        stack.media.fail(READ, StatusCode.NOT_FOUND)
        for _ in range(2):
            await process.core.methods.read(read_call())
        assert process.metric("media_cache_shadow_differences_total") == 0
        stack.media.heal()
        assert (await process.read()).code is StatusCode.OK
        assert process.metric("media_cache_shadow_differences_total") == 1
