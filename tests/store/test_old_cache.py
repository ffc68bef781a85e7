"""Entries of a gateway's own cache are deleted with each invalidation, if configured; failures affect nothing."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.policy.builtin.model import Model
from proxy.store import old_cache
from tests.support.in_process import Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

USER = Model.of("user", 1)
ABOUT = USER.described("avatars")
AVATAR, LIST, SPELLED = "user:1:avatar", "media:user:1:avatars", "media:User:1:avatars"
OTHERS = ("user:2:avatar", "media:user:1:images", "media:user:11:avatars", "session:1")


async def fill(redis: RedisServer) -> None:
    for key in (AVATAR, LIST, SPELLED, *OTHERS):
        await redis.cli("SET", key, "old")


async def left(redis: RedisServer) -> set[str]:
    names = (AVATAR, LIST, SPELLED, *OTHERS)
    return {name for name in names if await redis.cli("EXISTS", name)}


async def test_they_go_once_the_invalidation_is_confirmed_and_once_more_later(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Callable[[], None]] = []

    def call_later(seconds: float, again: Callable[[], None]) -> asyncio.TimerHandle:
        later.append(again)
        return asyncio.get_running_loop().call_later(3600, again)

    async with Stack(redis.addr) as stack:
        process = await stack.process(old_cache_keys="delete")
        monkeypatch.setattr(process.core.old, "_later", call_later)
        await fill(redis)
        await process.core.invalidations.invalidate(USER, source="event", about=ABOUT)

        async def only_others() -> bool:
            return await left(redis) == set(OTHERS)

        await until(only_others, "the old cache's keys to go")
        await redis.cli("SET", AVATAR, "stored by a fetch that had begun before")
        for again in later:
            again()
        await until(only_others, "the second deletion")
        assert process.core.old is not None
        assert not process.core.old._again


async def test_second_deletions_are_bounded_and_given_up_at_the_end(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_cache, "_MOST_WAITING", 3)
    async with Stack(redis.addr) as stack:
        process = await stack.process(old_cache_keys="delete")
        old = process.core.old
        assert old is not None
        for number in range(10):
            old.invalidated(Model.of("user", number), "event", ABOUT)
        handles = list(old._again)
        assert len(handles) == 3
    assert all(handle.cancelled() for handle in handles)


async def test_by_default_they_stay(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await fill(redis)
        await process.upload("User", 1)
        await process.core.invalidations.invalidate(USER, source="event", about=ABOUT)
        assert await left(redis) == {AVATAR, LIST, SPELLED, *OTHERS}


async def test_an_upload_through_the_proxy_deletes_them_too(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(old_cache_keys="delete")
        await fill(redis)
        assert (await process.upload("User", 1)).ok

        async def gone() -> bool:
            return await left(redis) == set(OTHERS)

        await until(gone, "the old cache's keys to go")


async def test_a_redis_that_goes_away_meanwhile_fails_nothing(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr) as stack:
        process = await stack.process(old_cache_keys="delete")
        await process.core.invalidations.invalidate(USER, source="event", about=ABOUT)
        own_redis.kill()
        assert process.core.old is not None
        process.core.old.invalidated(Model.of("user", 1), "event", ABOUT)
        await asyncio.sleep(0)
        assert (await process.upload("User", 1)).ok
