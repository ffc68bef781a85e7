import asyncio
import logging

import pytest
from grpc import StatusCode

from proxy.core import Core
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from proxy.telemetry.metrics import Metrics
from tests.support.in_process import READ, UPLOAD, USER, Process, Stack, read_call
from tests.support.media_methods import GET_FILES_BY_MODEL
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def test_settings_reach_the_policy() -> None:
    core = Core.build(
        Settings(
            redis_addr=None,
            cache_mode="shadow",
            cache_ttl=7.0,
            cache_stale_if_error=8.0,
            cache_stale_while_revalidate=9.0,
            cache_bypass_per_page=10,
            cache_max_entry_bytes=11,
        ),
        Metrics(),
    )
    policy = core.cache.policy
    assert (policy.mode, policy.ttl, policy.stale_if_error) == ("shadow", 7.0, 8.0)
    assert (policy.stale_while_revalidate, policy.max_entry_bytes) == (9.0, 11)
    asked = [core.policy.reads[GET_FILES_BY_MODEL].asked(read_call(per_page=number).body) for number in (9, 10)]
    assert [each.bypass for each in asked if each] == [False, True]
    assert (core.store, core.redis) == (None, None)
    await core.close()


@pytest.mark.parametrize(
    ("if_error", "revalidate"), [(30.0, 5.0), (5.0, 30.0)], ids=["stale-if-error", "stale-while-revalidate"]
)
async def test_entries_are_kept_for_the_longer_allowance(
    redis: RedisServer, if_error: float, revalidate: float
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_stale_if_error=if_error, cache_stale_while_revalidate=revalidate)
        await process.read()
        found = await process.found()
        assert found is not None
        assert found.entry.stale_until_ms - found.entry.fresh_until_ms == 30_000


async def test_namespaces_do_not_meet(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        ours, theirs = await stack.process(), await stack.process(cache_namespace="theirs")
        assert [await ours.x_cache(), await theirs.x_cache(), await ours.x_cache()] == ["miss", "miss", "hit"]
        await theirs.event()
        await theirs.core.invalidations.flush("asked for")
        assert await ours.x_cache() == "hit"


async def test_redis_is_a_dependency_that_is_told_of(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()

        def up() -> float:
            return process.metric("media_cache_dependency_up", dependency="redis")

        assert up() == 1
        own_redis.kill()
        await until(lambda: up() == 0, "the loss to be told")
        await own_redis.start()
        await until(lambda: up() == 1, "the return to be told")
        told = [record for record in caplog.records if record.name == "proxy.telemetry.dependency"]
        assert [record.levelno for record in told] == [logging.WARNING]  # the return is at info, not shown here


async def test_without_redis_there_is_no_such_dependency() -> None:
    metrics = Metrics()
    core = Core.build(Settings(redis_addr=None), metrics)
    assert metrics.registry.get_sample_value("media_cache_dependency_up", {"dependency": "redis"}) is None
    running = asyncio.create_task(core.run())
    await asyncio.sleep(0)
    await core.close()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_it_serves_before_redis_is_there_and_caches_once_it_is() -> None:
    redis = RedisServer()
    try:
        async with Stack(redis.addr, hurried=True) as stack:
            process = await stack.process(ready=False)
            assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]
            await redis.start()

            async def hit() -> bool:
                return await process.x_cache() == "hit"

            await until(hit, "caching to begin", timeout=5)
    finally:
        redis.remove()


async def test_closing_tries_pending_invalidations_once_more(redis: RedisServer) -> None:
    """Nobody but `close` retries here: `run` is not running."""
    async with Stack(redis.addr) as stack:
        other = await stack.process()
        assert [await other.x_cache(), await other.x_cache()] == ["miss", "hit"]
        settings = Settings(media_service_addr=stack.upstream.addr, redis_addr=RedisAddr().parse(redis.addr))
        metrics = Metrics()
        core = Core.build(settings, metrics)
        assert core.store is not None
        connecting = asyncio.create_task(core.store.run())
        await until(Process(core, metrics).usable, "Redis to be usable")
        core.invalidations.invalidate_soon(USER)
        await core.close()
        connecting.cancel()
        await asyncio.wait([connecting])
        assert await other.x_cache() == "miss"


async def test_closing_does_not_wait_for_writes_of_unknown_outcome(redis: RedisServer) -> None:
    """What was to be repeated in 30 s is repeated now."""
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.fail(UPLOAD, StatusCode.UNAVAILABLE)
        await process.upload()
        assert len(process.core.own_writes._repeats) == 1
        await process.core.close()
        assert (process.core.own_writes._repeats, process.core.invalidations.pending) == ({}, 0)


async def test_closing_ends_every_fetch(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        reading = process.reading()
        await gate.reached()
        await process.core.close()
        await asyncio.wait([reading])
        assert reading.cancelled()
        await until(lambda: stack.media.calls[0].ended == "cancelled", "upstream's call to be cancelled")


async def test_a_callers_deadline_goes_upstream(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.read(deadline=60.0)
        await process.read(model_id=2)
        first, second = stack.media.calls
        assert first.time_remaining is not None
        assert 0 < first.time_remaining < 61
        assert second.time_remaining is None


async def test_upstream_away(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert await process.x_cache() == "miss"
        await stack.upstream.stop()
        assert await process.x_cache() == "hit"
        seen = await process.read(model_id=2, deadline=60.0)
        assert (seen.code.name, seen.x_cache) == ("UNAVAILABLE", "miss")
        await stack.upstream.start()

        async def back() -> bool:
            return (await process.read(model_id=2)).code.name == "OK"

        await until(back, "upstream to be reached again", timeout=10)
