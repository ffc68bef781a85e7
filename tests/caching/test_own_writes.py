"""The read after a write through this proxy is fresh, whatever happens to the write."""

import asyncio
import time
from typing import Any

import pytest
from grpc import StatusCode

from proxy.caching import own_writes
from proxy.caching.held import Intent
from proxy.pb import media_pb2 as pb
from tests.support.in_process import UPLOAD, Process, Stack, intents
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def cached(process: Process) -> bool:
    """Whether a read of user 1 is now answered from the cache."""
    return await process.x_cache() == "hit"


async def caches_again(process: Process, timeout: float = 5) -> None:
    await until(lambda: cached(process), "the model to be cached", timeout)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
async def test_the_read_after_an_upload_is_fresh_and_the_model_is_cached_at_once(
    redis: RedisServer, elsewhere: bool
) -> None:
    async with Stack(redis.addr) as stack:
        writer = await stack.process()
        reader = await stack.process() if elsewhere else writer
        assert [await reader.x_cache(), await reader.x_cache()] == ["miss", "hit"]
        reply = await writer.upload("USER")
        assert pb.UploadFileResponse.FromString(reply.body or b"").data.id == 1
        first, second = await reader.read(), await reader.read()
        assert (first.x_cache, first.ids, second.x_cache, second.ids) == ("miss", [1], "hit", [1])
        assert await intents(redis) == []
        assert writer.metric("media_cache_invalidations_total", source="write") == 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
async def test_the_read_after_a_delete_is_fresh(redis: RedisServer, elsewhere: bool) -> None:
    async with Stack(redis.addr) as stack:
        writer = await stack.process()
        reader = await stack.process() if elsewhere else writer
        media = stack.media.add("User", 1)
        assert [await reader.x_cache(), await reader.x_cache()] == ["miss", "hit"]
        reply = await writer.delete(media.id)
        assert pb.DeleteFileResponse.FromString(reply.body or b"").success
        seen = await reader.read()
        assert (seen.x_cache, seen.ids) == ("miss", [])


async def test_nothing_is_stored_while_a_write_is_under_way(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        writer, reader = await stack.process(), await stack.process()
        assert await reader.x_cache() == "miss"
        gate = stack.media.hold(UPLOAD)
        upload = asyncio.create_task(writer.upload())
        await gate.reached()
        for process in (writer, reader):
            assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]
        gate.open()
        await upload
        seen = await reader.read()
        assert (seen.x_cache, seen.ids, await reader.x_cache()) == ("miss", [1], "hit")


async def test_an_unsuccessful_write_is_answered_as_it_is(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.read()
        stack.media.unsuccessful[UPLOAD] = "too large"
        reply = await process.upload()
        assert pb.UploadFileResponse.FromString(reply.body or b"") == pb.UploadFileResponse(message="too large")
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        assert await intents(redis) == []


async def test_overlapping_writes_on_one_model(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        first, second = await stack.process(), await stack.process()
        gate = stack.media.hold(UPLOAD, "answer")
        uploads = [asyncio.create_task(process.upload()) for process in (first, second, first)]
        await gate.reached(3)
        assert len(await intents(redis)) == 3
        stack.media.release(UPLOAD, "answer")
        await asyncio.wait([uploads[0]])
        await asyncio.gather(*uploads)
        assert await intents(redis) == []
        assert ([await first.x_cache(), await first.x_cache()], (await second.read()).ids) == (
            ["miss", "hit"],
            [1, 2, 3],
        )


async def test_the_first_of_two_writes_to_end_leaves_the_others_intent(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(UPLOAD)
        slow = asyncio.create_task(process.upload())
        await gate.reached()
        stack.media._gates.clear()
        await process.upload()
        assert len(await intents(redis)) == 1
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]
        gate.open()
        await slow
        assert (await process.read()).ids == [1, 2]
        assert await process.x_cache() == "hit"


async def test_a_crash_between_commit_and_answer_leaves_nothing_stale(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_writes, "_INTENT_MARGIN", 0.1)
    async with Stack(redis.addr) as stack:
        crashing, reader = await stack.process(), await stack.process()
        assert [await reader.x_cache(), await reader.x_cache()] == ["miss", "hit"]

        async def never(*_: Any, **__: Any) -> None:
            """The end of the write is not carried out, as if the process had been killed."""

        monkeypatch.setattr(crashing.core.own_writes, "_end", never)
        gate = stack.media.hold(UPLOAD, "answer")
        upload = asyncio.create_task(crashing.upload(deadline=60.0))
        await gate.reached()
        upload.cancel()
        await asyncio.wait([upload])
        assert [(await reader.read()).ids for _ in range(2)] == [[1], [1]]
        assert await reader.x_cache() == "miss"  # no lease is given
        [key] = await redis.cli("KEYS", "media:model:*")
        [intent] = await intents(redis)
        ends = int(await redis.cli("HGET", key, intent)) / 1000
        assert time.time() + 30 < ends <= time.time() + 60.1  # the deadline plus the margin
        await redis.cli("HSET", key, intent, "1")  # as if that time had passed
        await caches_again(reader)


@pytest.mark.parametrize(
    ("deadline", "least", "most"),
    [(None, 590, 600), (0.0, 4, 5), (100.0, 100, 105), (9e9, 590, 600)],
    ids=["none", "past", "100 s", "285 years"],
)
async def test_an_intent_outlives_its_write(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, deadline: float | None, least: float, most: float
) -> None:
    asked: list[Intent] = []
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        original = process.core.invalidations.own_write

        async def seen(model: Any, intent: Intent, *args: Any, **named: Any) -> None:
            asked.append(intent)
            await original(model, intent, *args, **named)

        monkeypatch.setattr(process.core.invalidations, "own_write", seen)
        begun = asyncio.get_running_loop().time()
        await process.upload(deadline=deadline)
        assert least < asked[0].until - begun
        assert asked[0].until - asyncio.get_running_loop().time() <= most


async def test_without_redis_writes_are_forwarded(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(redis_addr="")
        reply = await process.upload()
        assert pb.UploadFileResponse.FromString(reply.body or b"").success
        stack.media.fail(UPLOAD, StatusCode.UNAVAILABLE)
        assert (await process.upload()).code is StatusCode.UNAVAILABLE
        assert process.core.invalidations.pending == 0
        assert process.metric("media_cache_invalidations_total", source="write") == 0
