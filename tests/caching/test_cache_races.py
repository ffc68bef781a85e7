"""Reads during invalidations, no-cache reads and flushes, with each interleaving forced by gates; and cancellation."""

import asyncio
from typing import Any

import pytest

from proxy.calls.call import Reply
from proxy.pb import media_pb2 as pb
from tests.support.cancelling import cancelled_at_each_await
from tests.support.in_process import READ, UPLOAD, USER, Process, Seen, Stack, no_lease_left
from tests.support.servers.redis import RedisServer
from tests.support.servers.script import Gate
from tests.support.servers.waiting import until


def let_later_calls_pass(stack: Stack) -> None:
    """Lets new calls pass; calls that are held stay held."""
    stack.media._gates.clear()


async def old_read(stack: Stack, process: Process, **named: Any) -> "tuple[asyncio.Task[Seen], Gate]":
    """A read whose fetch is held after it has seen no file; file 1 is added then."""
    gate = stack.media.hold(READ, "answer")
    reading = process.reading(**named)
    await gate.reached()
    let_later_calls_pass(stack)
    stack.media.add("User", 1)
    return reading, gate


async def invalidate(process: Process, how: str) -> None:
    if how == "event":
        await process.event()
    elif how == "admin":
        await process.core.invalidations.invalidate(USER, source="admin")
    elif how == "flush":
        await process.core.invalidations.flush("asked for")
    else:
        await process.upload()


@pytest.mark.parametrize("how", ["event", "admin", "flush", "write"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
@pytest.mark.parametrize("first_ends", ["before the next read", "after the next read"])
async def test_what_began_before_an_invalidation_is_neither_stored_nor_joined_after_it(
    redis: RedisServer, how: str, elsewhere: bool, first_ends: str
) -> None:
    async with Stack(redis.addr) as stack:
        first = await stack.process()
        other = await stack.process() if elsewhere else first
        reading, gate = await old_read(stack, first)
        await invalidate(other, how)
        if first_ends == "before the next read":
            gate.open()
            assert (await reading).ids == []
        expected = [1, 2] if how == "write" else [1]
        for process in (first, other):
            assert (await process.read()).ids == expected
        gate.open()
        assert (await reading).ids == []

        async def hit() -> bool:
            seen = await first.read()
            assert seen.ids == expected
            return seen.x_cache == "hit"

        await until(hit, "the new answer to be stored", timeout=5)
        assert (await other.read()).ids == expected


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
async def test_no_cache_takes_the_lease_over(redis: RedisServer, elsewhere: bool) -> None:
    async with Stack(redis.addr) as stack:
        first = await stack.process()
        other = await stack.process() if elsewhere else first
        reading, gate = await old_read(stack, first)
        fresh = await other.read(metadata=(("cache-control", "no-cache"),))
        assert (fresh.x_cache, fresh.ids) == ("miss", [1])
        gate.open()
        assert (await reading).ids == []
        await until(lambda: first.flights == 0, "the old fill to be refused")
        seen = await first.read()
        assert (seen.x_cache, seen.ids) == ("hit", [1])


async def test_a_read_joins_a_no_cache_fetch_but_not_the_other_way_round(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        plain = process.reading()
        await gate.reached()
        fresh = process.reading(metadata=(("cache-control", "no-cache"),))
        await gate.reached(2)
        joining = process.reading()
        await process.all_waiting(3)
        gate.open()
        assert [one.x_cache for one in await asyncio.gather(plain, fresh, joining)] == ["miss", "miss", "coalesced"]
        assert stack.fetches == 2


async def test_reads_of_another_model_are_not_disturbed(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        reading = process.reading(model_id=2)
        await gate.reached()
        await process.event()
        gate.open()
        assert (await reading).x_cache == "miss"
        assert await process.x_cache(model_id=2) == "hit"


async def test_a_read_cancelled_at_any_await_leaves_nothing_behind(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        model_ids = iter(range(1, 1000))
        last = 0

        async def read() -> Seen:
            nonlocal last
            last = next(model_ids)
            return await process.read(model_id=last)

        awaits = 0
        async for at in cancelled_at_each_await(read):
            awaits = max(awaits, at)
            await _restored(redis, process, last)
        assert awaits == 3  # the look, the lease, the fetch


async def _restored(redis: RedisServer, process: Process, model_id: int) -> None:
    """Waits until a model is cached normally again after a cancelled read of it."""
    await until(lambda: process.flights == 0, "flights to end")
    await no_lease_left(redis)
    assert process.core.cache._refreshes == {}
    assert process.metric("media_cache_fetches_in_flight") == 0
    first = await process.x_cache(model_id=model_id)
    assert first in {"miss", "hit"}  # it is a hit if the cancelled read ran to its end
    assert await process.x_cache(model_id=model_id) == "hit"


async def test_a_read_cancelled_while_it_waits_for_another_process_leaves_nothing_behind(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.caching.fetches._FILL_WAIT", 60.0)
    async with Stack(redis.addr) as stack:
        first, second = await stack.process(), await stack.process()
        gate = stack.media.hold(READ)
        leader = first.reading()
        await gate.reached()
        follower = second.reading()
        await second.all_waiting(1)
        follower.cancel()
        await asyncio.wait([follower])
        await until(lambda: second.flights == 0, "the wait to end")
        gate.open()
        assert (await leader).x_cache == "miss"
        assert await second.x_cache() == "hit"


async def test_a_write_cancelled_at_any_await_leaves_nothing_stale(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.caching.own_writes.UNKNOWN_OUTCOME", 0.05)
    async with Stack(redis.addr) as stack:
        process = await stack.process()

        async def upload() -> Reply:
            return await process.upload()

        awaits = 0
        async for at in cancelled_at_each_await(upload):
            awaits = max(awaits, at)
            await _caches_the_truth(stack, process)
        assert awaits >= 3  # the first invalidation, upstream's answer, the second invalidation


@pytest.mark.parametrize("indexed", [True, False])
async def test_a_delete_cancelled_at_any_await_leaves_nothing_stale(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    monkeypatch.setattr("proxy.caching.own_writes.UNKNOWN_OUTCOME", 0.05)
    async with Stack(redis.addr) as stack:
        process = await stack.process()

        async def delete() -> Reply:
            return await process.delete(stack.media.add("User", 1).id)

        async for _ in cancelled_at_each_await(delete):
            await process.event()
            await _caches_the_truth(stack, process)
            if not indexed:
                for key in await redis.cli("KEYS", "media:id:*"):
                    await redis.cli("DEL", key)


async def _caches_the_truth(stack: Stack, process: Process) -> None:
    """What upstream has now is served, and soon from the cache again."""
    await until(lambda: all(call.ended for call in stack.media.calls), "upstream to be done with every call")
    await until(lambda: not process.core.own_writes._ends, "the write's end")
    truth = [media.id for media in stack.media.files][:100]

    async def hit() -> bool:
        seen = await process.read(per_page=99)
        assert seen.ids == truth
        return seen.x_cache == "hit"

    await until(hit, "the model to be cached again", timeout=5)
    await until(lambda: process.core.invalidations.pending == 0, "nothing to be held")
    await until(lambda: process.flights == 0, "every flight to have ended")


async def test_an_upload_between_a_commit_and_its_event(redis: RedisServer) -> None:
    """A publisher publishes before it commits: nothing is stored within the window."""
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ, "answer")
        await process.event()
        early = process.reading()
        await gate.reached()
        stack.media.add("User", 1)  # the commit
        gate.open()
        assert (await early).ids == []
        assert await process.found() is None


async def test_many_readers_and_writers_end_with_the_truth(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        processes = [await stack.process(), await stack.process()]
        known = 0

        async def write(process: Process) -> None:
            nonlocal known
            for _ in range(10):
                reply = await process.upload()
                known = max(known, pb.UploadFileResponse.FromString(reply.body or b"").data.id)

        async def read(process: Process) -> None:
            for _ in range(40):
                must_have = known  # answered before this read began
                ids = (await process.read(per_page=99)).ids
                assert ids == list(range(1, len(ids) + 1))
                assert len(ids) >= must_have

        await asyncio.gather(*(work(process) for process in processes for work in (write, read, read, write)))
        assert stack.media.count(UPLOAD) == 40
        assert (await processes[0].read(per_page=99)).ids == list(range(1, 41))
