"""Writes with an unknown outcome, with callers that are gone, or with an unknown model."""

import asyncio
import time
from typing import Any

import pytest
from grpc import StatusCode

from proxy.caching import own_writes
from proxy.calls.call import Call, Reply
from proxy.pb import media_pb2 as pb
from tests.support.in_process import DELETE, UPLOAD, USER, Stack, intents
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


def test_what_is_known_of_an_outcome() -> None:
    unsure = {code for code in StatusCode if code not in own_writes._SETTLED}
    assert unsure == {
        StatusCode.CANCELLED,
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
    assert own_writes.UNKNOWN_OUTCOME == 30.0


@pytest.mark.parametrize("outcome", ["deadline", "cancelled", "unavailable", "internal"])
async def test_after_an_unknown_outcome_the_intent_stands_and_its_end_repeats_the_invalidation(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        loop = asyncio.get_running_loop()
        timers: list[tuple[float, Any]] = []
        monkeypatch.setattr(loop, "call_later", _recorded(timers, loop.call_later))
        gate = stack.media.hold(UPLOAD)
        upload = asyncio.create_task(process.upload(deadline=1.0 if outcome == "deadline" else None))
        await gate.reached()
        if outcome == "cancelled":
            upload.cancel()
        elif outcome != "deadline":
            stack.media.fail(UPLOAD, StatusCode[outcome.upper()])
            gate.open()
        await asyncio.wait([upload])
        await until(lambda: not process.core.own_writes._ends, "the write's end")
        stack.media.add("User", 1)  # upstream commits late
        assert [(await process.read()).ids, await process.x_cache()] == [[1], "miss"]  # no lease is given
        [key] = await redis.cli("KEYS", "media:model:*")
        [intent] = await intents(redis)
        left = int(await redis.cli("HGET", key, intent)) / 1000 - time.time()
        assert 20 < left <= 30
        [(delay, repeat)] = [timer for timer in timers if timer[0] == 30.0]
        assert delay == own_writes.UNKNOWN_OUTCOME
        # The intent gets lost (in a full Redis) and an old answer gets stored; then the 30 s are over.
        await redis.cli("DEL", key)
        await process.read()
        stack.media.add("User", 1)
        assert (await process.read()).ids == [1]
        repeat()
        assert process.core.invalidations.held_back(USER)
        assert (await process.read()).ids == [1, 2]
        await until(lambda: process.core.invalidations.pending == 0, "the invalidation to be repeated")
        assert (await process.read()).ids == [1, 2]
        assert process.core.own_writes._repeats == {}


def _recorded(timers: list[tuple[float, Any]], call_later: Any) -> Any:
    def record(delay: float, callback: Any, *args: Any, **named: Any) -> Any:
        timers.append((delay, callback))
        return call_later(delay, callback, *args, **named)

    return record


async def test_a_caller_that_goes_away_during_the_end_does_not_take_it_along(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        ending, go_on = asyncio.Event(), asyncio.Event()
        original = process.core.own_writes._end

        async def held(*args: Any, **named: Any) -> None:
            ending.set()
            await go_on.wait()
            await original(*args, **named)

        monkeypatch.setattr(process.core.own_writes, "_end", held)
        upload = asyncio.create_task(process.upload())
        await ending.wait()
        upload.cancel()
        await asyncio.wait([upload])
        assert upload.cancelled()
        closing = asyncio.create_task(process.core.own_writes.close())
        await asyncio.wait([closing], timeout=0.01)
        assert not closing.done()
        go_on.set()
        await closing
        assert await intents(redis) == []
        assert (await process.read()).ids == [1]
        assert await process.x_cache() == "hit"


async def test_cancelled_before_it_was_forwarded_a_write_leaves_no_intent(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        original, sent = process.core.invalidations.own_write, asyncio.Event()

        async def held_after_redis(*args: Any, **named: Any) -> None:
            await original(*args, **named)
            if named.get("ended") is None:
                sent.set()
                await asyncio.Event().wait()

        monkeypatch.setattr(process.core.invalidations, "own_write", held_after_redis)
        upload = asyncio.create_task(process.upload())
        await sent.wait()
        assert len(await intents(redis)) == 1
        upload.cancel()
        await asyncio.wait([upload])
        await until(lambda: not process.core.own_writes._ends, "the write's end")
        assert await intents(redis) == []
        assert stack.media.count(UPLOAD) == 0
        assert process.core.own_writes._repeats == {}


async def test_writes_of_unknown_outcome_are_repeated_at_the_end_of_the_process(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.fail(UPLOAD, StatusCode.UNAVAILABLE, at="answer")
        await process.upload()
        assert len(process.core.own_writes._repeats) == 1
        held: list[Any] = []
        monkeypatch.setattr(process.core.invalidations, "invalidate_soon", held.append)
        await process.core.own_writes.close()
        assert (held, process.core.own_writes._repeats) == ([USER], {})


async def test_too_many_unknown_outcomes_are_one_flush(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_writes, "MOST_HELD", 2)
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.fail(UPLOAD, StatusCode.UNAVAILABLE)
        flushes: list[str] = []
        monkeypatch.setattr(process.core.invalidations, "flush_soon", lambda reason, _: flushes.append(reason))
        for model_id in range(1, 4):
            await process.upload(model_id=model_id)
        assert len(process.core.own_writes._repeats) == 2
        assert len(flushes) == 1


async def test_a_delete_of_an_unknown_model_flushes_only_when_it_may_have_happened(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        flushes: list[str] = []
        monkeypatch.setattr(process.core.invalidations, "flush_soon", lambda reason, _: flushes.append(reason))
        await process.delete(404)  # upstream does not know it either
        stack.media.fail(DELETE, StatusCode.NOT_FOUND)
        await process.delete(404)
        assert flushes == []
        stack.media.fail(DELETE, StatusCode.UNAVAILABLE)
        await process.delete(404)
        assert flushes == ["a file was deleted whose model is not known"]


@pytest.mark.parametrize("body", [pb.DeleteFileResponse(success=True).SerializeToString(), b"\xff"])
async def test_a_done_delete_of_an_unknown_model_flushes(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()

        async def done(_: Call) -> Reply:
            return Reply(body)

        monkeypatch.setattr(process.core.served.methods, "_fetch", done)
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        await process.delete(404)
        assert process.core.invalidations.held_back(USER)  # every read bypasses until the flush
        await until(lambda: process.core.invalidations.pending == 0, "the flush")
        assert await process.x_cache() == "miss"


async def test_of_a_write_that_surely_succeeded_its_event_is_expected(redis: RedisServer) -> None:
    """No event is expected if the write failed, was refused, or has an unknown outcome."""
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        told: list[tuple[float, tuple[str, ...]]] = []
        process.core.own_writes.succeeded = lambda began, tags, intent: told.append((began, tags))
        before = time.monotonic()
        await process.upload()
        media = stack.media.add("User", 1)
        await process.delete(media.id)
        assert len(told) == 2
        (first, *tags), (second, *_) = told
        assert before <= first <= second <= time.monotonic()
        assert tags == [(USER,)]
        await process.delete(media.id)  # it is gone already: `success = false`
        stack.media.unsuccessful[UPLOAD] = "too large"
        await process.upload()
        del stack.media.unsuccessful[UPLOAD]
        for code in (StatusCode.INVALID_ARGUMENT, StatusCode.UNAVAILABLE):
            stack.media.fail(UPLOAD, code)
            await process.upload()
        assert len(told) == 2
