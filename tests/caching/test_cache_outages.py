"""Redis fails during a read, at each of its steps."""

import time
from typing import Any

import pytest
from grpc import StatusCode

from proxy.store.redis_node import Budget
from tests.support.in_process import Process, Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


class Frozen:
    """Freezes Redis when one method of the store is called, before the request is sent."""

    def __init__(self, process: Process, server: RedisServer, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        store = process.core.store
        original = getattr(store, step)
        self.asked = 0

        def freezing(*args: Any, **named: Any) -> Any:
            self.asked += 1
            if self.asked == 1:
                server.freeze()
            return original(*args, **named)

        monkeypatch.setattr(store, step, freezing)


@pytest.mark.parametrize("step", ["read", "acquire", "fill"])
async def test_redis_freezing_at_any_step_costs_one_timeout(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Budget.__init__, "__defaults__", (0.5,))  # a busy machine must not look like a frozen Redis
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        frozen = Frozen(process, own_redis, step, monkeypatch)
        begun = time.perf_counter()
        seen = await process.read()
        assert (seen.code, seen.x_cache, frozen.asked) == (StatusCode.OK, "miss", 1)
        assert time.perf_counter() - begun < 1.5  # without a timeout: until the connection is given up, or forever
        await until(lambda: not process.usable(), "the breaker to open")
        assert await process.x_cache() == "miss"
        assert frozen.asked == 1  # no further request while Redis is away
        own_redis.thaw()
        await until(process.usable, "Redis to be trusted again")

        async def hit() -> bool:
            return await process.x_cache() == "hit"

        await until(hit, "caching to return", timeout=5)


async def test_redis_killed_and_started_again(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        own_redis.kill()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]
        await own_redis.start()

        async def hit() -> bool:
            return await process.x_cache() == "hit"

        await until(hit, "caching to return", timeout=5)


async def test_after_an_outage_old_entries_wait_for_what_others_hold_back(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        own_redis.freeze()
        assert await process.x_cache() == "miss"
        own_redis.thaw()
        await until(process.usable, "Redis to be trusted again")
        stack.media.add("User", 1)  # its invalidation is still held by another process
        first, second = await process.read(), await process.read()
        assert (first.x_cache, first.ids) == ("miss", [1])
        assert (second.x_cache, second.ids) == ("hit", [1])  # born after the outage
