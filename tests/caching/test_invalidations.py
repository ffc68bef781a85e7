"""Invalidations on a real Redis, and while it hangs, is cut off, or cannot hold more."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from proxy.caching import held
from proxy.policy.builtin.model import Model
from tests.support.in_process import UPLOAD, USER, Process, Stack, intents
from tests.support.servers.redis import RedisServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.waiting import until


@pytest.fixture
async def stack(own_redis: RedisServer) -> AsyncIterator[Stack]:
    """A stack with a Redis that the test may break."""
    async with Stack(own_redis.addr, hurried=True) as stack:
        yield stack


async def away(process: Process, redis: RedisServer) -> None:
    """Freezes Redis and waits until the process has noticed."""
    redis.freeze()
    await process.read(model_id=999)
    await until(lambda: not process.usable(), "the process to see it")


async def applied(process: Process) -> None:
    await until(lambda: process.core.invalidations.pending == 0, "every invalidation to be applied")


def pending(process: Process) -> float:
    assert process.metric("media_cache_invalidations_pending") == process.core.invalidations.pending
    return process.core.invalidations.pending


async def test_an_event_is_applied_when_it_returns(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process, other = await stack.process(), await stack.process()
        assert [await other.x_cache(), await other.x_cache()] == ["miss", "hit"]
        await process.event()
        assert await other.x_cache() == "miss"
        assert process.metric("media_cache_invalidations_total", source="event") == 1


@pytest.mark.parametrize(
    ("model", "collection", "line"),
    [
        (Model.of("user", 7), "avatars", "Invalidated user avatar cache"),
        (Model.of("user", 7), "avatar", "Invalidated user avatar cache"),
        (Model.of("user", 7), "", "Invalidated model media cache"),
        (Model.of("product", 7), "avatars", "Invalidated model media cache"),
    ],
)
async def test_debug_lines_read_as_they_used_to(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, model: Model, collection: str, line: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        caplog.set_level(logging.DEBUG, logger="proxy")
        await process.core.invalidations.invalidate(model, source="event", about=model.described(collection))
        [record] = caplog.records
        fields = {name: record.__dict__[name] for name in ("model_type", "model_id", "collection", "source")}
        assert record.getMessage() == line
        assert fields == {
            "model_type": model.type,
            "model_id": 7,
            "collection": collection,
            "source": "event",
        }


async def test_what_redis_does_not_take_is_held_bypassed_and_retried(stack: Stack, own_redis: RedisServer) -> None:
    process = await stack.process()
    assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
    await away(process, own_redis)
    events = [asyncio.create_task(process.event(model)) for model in (USER, USER, Model.of("user", 2))]
    await until(lambda: pending(process) == 2, "two models to be held")
    stack.media.add("User", 1)
    own_redis.thaw()
    await until(process.usable, "Redis to be trusted again")
    seen = await process.read()  # the invalidation is still held or just applied; never the old answer
    assert seen.ids == [1]
    await asyncio.gather(*events)
    assert pending(process) == 0
    assert (await process.read()).ids == [1]
    assert process.metric("media_cache_invalidations_total", source="event") == 3


async def test_own_writes_while_redis_hangs_are_quick_and_applied_later(stack: Stack, own_redis: RedisServer) -> None:
    process, other = await stack.process(), await stack.process()
    assert [await process.x_cache(), await other.x_cache()] == ["miss", "hit"]
    own_redis.freeze()
    begun = asyncio.get_running_loop().time()
    assert (await process.upload()).ok
    assert asyncio.get_running_loop().time() - begun < 1.5  # without a bound: until Redis is back
    assert (await process.read()).ids == [1]
    assert pending(process) == 1
    assert process.metric("media_cache_invalidations_total", source="write") == 0  # Redis has not confirmed anything
    own_redis.thaw()
    await applied(process)
    assert process.metric("media_cache_invalidations_total", source="write") == 1
    assert (await other.read()).ids == [1]
    assert await intents(own_redis) == []


async def test_a_write_that_ends_while_redis_hangs_clears_its_intent_later(
    stack: Stack, own_redis: RedisServer
) -> None:
    process = await stack.process()
    gate = stack.media.hold(UPLOAD)
    uploads = [asyncio.create_task(process.upload()) for _ in range(3)]
    await gate.reached(3)
    assert len(await intents(own_redis)) == 3
    await away(process, own_redis)
    gate.open()
    await asyncio.gather(*uploads)
    own_redis.thaw()
    await applied(process)
    assert await intents(own_redis) == []


async def test_redis_back_during_a_write_learns_of_its_intent(stack: Stack, own_redis: RedisServer) -> None:
    process = await stack.process()
    await away(process, own_redis)
    gate = stack.media.hold(UPLOAD)
    upload = asyncio.create_task(process.upload())
    await gate.reached()
    own_redis.thaw()
    await applied(process)
    assert len(await intents(own_redis)) == 1
    gate.open()
    await upload
    assert await intents(own_redis) == []


async def test_more_than_can_be_held_is_one_flush(
    stack: Stack, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST_HELD", 5)
    process, other = await stack.process(), await stack.process()
    for model_id in range(1, 11):
        assert await other.x_cache(model_id=model_id) == "miss"
    await away(process, own_redis)
    events = [asyncio.create_task(process.event(Model.of("user", number))) for number in range(1, 8)]
    await until(lambda: pending(process) == 6, "five models and the flush")
    assert process.core.invalidations.held_back(Model.of("user", 10))
    own_redis.thaw()
    await asyncio.gather(*events)
    await applied(process)
    assert {await other.x_cache(model_id=number) for number in range(1, 11)} == {"miss"}


async def test_an_invalidation_over_a_connection_that_is_cut(redis: RedisServer) -> None:
    async with FaultyTcp(redis.port) as tcp, Stack(redis.addr, hurried=True) as stack:
        process, other = await stack.process(redis_addr=tcp.addr), await stack.process()
        assert [await other.x_cache(), await other.x_cache()] == ["miss", "hit"]
        tcp.swallow = True
        event = asyncio.create_task(process.event())
        await until(lambda: pending(process) == 1, "it to be held")
        tcp.cut()
        tcp.resume()
        await event
        assert await other.x_cache() == "miss"


async def test_the_last_ones_are_remembered_with_their_source(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.event()
        await process.upload("Product", 7)
        await process.core.invalidations.flush("asked for")
        flushed, *models = [(each.tag, each.source, each.detail) for each in process.core.recent]
        assert flushed[:2] == (None, "flush")
        assert flushed[2].startswith("asked for; ")
        assert models == [
            (Model.of("product", 7), "write", "avatars"),
            (USER, "event", "avatars"),
        ]
