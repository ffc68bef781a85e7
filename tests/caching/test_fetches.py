"""Fetches of one process: sharing them, leases, callers that leave, and the window after an event."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from proxy.caching.invalidations import EVENT_WINDOW
from proxy.calls.call import Call, Reply
from proxy.store.redis_store import Grant
from tests.support.in_process import READ, Seen, Stack, no_lease_left
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


async def test_a_stampede_in_one_process_is_one_fetch(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        readers = [process.reading() for _ in range(200)]
        await process.all_waiting(200)
        await gate.reached()
        assert process.metric("media_cache_fetches_in_flight") == 1
        gate.open()
        seen = await asyncio.gather(*readers)
        assert sorted(one.x_cache for one in seen) == ["coalesced"] * 199 + ["miss"]
        assert len({one.reply.body for one in seen}) == 1
        assert stack.fetches == 1
        assert process.metric("media_cache_fetches_in_flight") == 0


async def test_who_is_told_a_token_that_is_being_filled_joins_at_once(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        store = process.core.store
        assert store is not None
        taken: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        grants: list[Grant] = []
        original = store.acquire

        async def acquire(*args: Any, **named: Any) -> Grant:
            if grants:  # this read was granted its token just before the fill
                return Grant("held", grants[0].token, grants[0].run_id)
            grants.append(await original(*args, **named))
            return grants[0]

        monkeypatch.setattr(store, "acquire", acquire)
        monkeypatch.setattr(store, "fill", lambda *_: taken)
        assert await process.x_cache() == "miss"
        seen = await process.read()
        assert (seen.x_cache, seen.age, stack.fetches) == ("coalesced", None, 1)
        taken.set_result(1)
        await until(lambda: process.flights == 0, "the flight to end")


async def test_a_lease_that_was_used_is_not_given_back_too(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert process.core.store is not None
        released: list[Any] = []
        monkeypatch.setattr(process.core.store, "release", lambda *args: released.append(args))
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        assert released == []
        stack.media.unsuccessful[READ] = "database away"
        assert await process.x_cache(model_id=2) == "miss"
        assert len(released) == 1


async def test_a_fetch_that_ends_before_it_began_gives_its_lease_back(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        flights = process.core.cache._fetches._flights
        original = flights.start

        def start(*args: Any) -> Any:
            flight = original(*args)
            assert flight.task is not None
            flight.task.cancel()
            return flight

        monkeypatch.setattr(flights, "start", start)
        reading = process.reading()
        await asyncio.wait([reading])
        assert reading.cancelled()
        await no_lease_left(redis)


async def test_a_leader_that_goes_away_harms_no_follower(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        leader = process.reading()
        await gate.reached()
        followers = [process.reading() for _ in range(3)]
        await process.all_waiting(4)
        leader.cancel()
        await asyncio.wait([leader])
        gate.open()
        assert [(one.code, one.x_cache) for one in await asyncio.gather(*followers)] == [
            (StatusCode.OK, "coalesced")
        ] * 3
        assert stack.fetches == 1
        assert await process.x_cache() == "hit"


async def test_the_last_waiter_to_go_cancels_the_fetch(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        readers = [process.reading() for _ in range(3)]
        await process.all_waiting(3)
        await gate.reached()
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        await until(lambda: stack.media.calls[0].ended == "cancelled", "upstream's call to be cancelled")
        assert process.flights == 0
        await no_lease_left(redis)
        stack.media.release(READ)
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]


async def test_a_leaders_deadline_is_not_the_followers(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        leader = process.reading(deadline=1.0)
        await gate.reached()
        followers = [process.reading() for _ in range(3)]
        await process.all_waiting(4)
        assert (await leader).code is StatusCode.DEADLINE_EXCEEDED
        await gate.reached(2)
        gate.open()
        seen = await asyncio.gather(*followers)
        assert {one.code for one in seen} == {StatusCode.OK}
        assert sorted(one.x_cache for one in seen) == ["coalesced", "coalesced", "miss"]
        assert stack.fetches == 2


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL])
@pytest.mark.parametrize("deadline", [None, 60.0])
async def test_a_failure_is_shared_and_its_lease_given_back(
    redis: RedisServer, code: StatusCode, deadline: float | None
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(READ)
        stack.media.fail(READ, code, "no luck")
        readers = [process.reading(deadline=deadline) for _ in range(20)]
        await process.all_waiting(20)
        gate.open()
        seen = await asyncio.gather(*readers)
        assert {(one.code, one.reply.details) for one in seen} == {(code, "no luck")}
        assert sorted(one.x_cache for one in seen) == ["coalesced"] * 19 + ["miss"]
        assert stack.fetches == 1
        await no_lease_left(redis)
        stack.media.heal()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]


async def test_followers_see_the_status_but_not_the_leaders_metadata(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.initial_metadata = (("x-first", "1"),)
        stack.media.trailing_metadata = (("x-last", "1"), ("grpc-status-details-bin", b"why"))
        gate = stack.media.hold(READ)
        stack.media.fail(READ, StatusCode.INTERNAL)
        leader = process.reading()
        await gate.reached()
        follower = process.reading()
        await process.all_waiting(2)
        gate.open()
        assert ("x-last", "1") in (await leader).reply.trailing_metadata
        seen = await follower
        assert seen.reply.initial_metadata == ()
        assert seen.reply.trailing_metadata == (("grpc-status-details-bin", b"why"), ("x-cache", "coalesced"))


async def test_a_leaders_unusable_metadata_is_not_the_followers_fault(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        arrived, open_ = asyncio.Event(), asyncio.Event()
        upstream = process.core.cache._fetch

        async def held(call: Call) -> Reply:
            arrived.set()
            await open_.wait()
            return await upstream(call)

        monkeypatch.setattr(process.core.cache._fetches, "_fetch", held)
        leader = process.reading(metadata=(("x-bad", "é"),))
        await arrived.wait()
        followers = [process.reading() for _ in range(2)]
        await process.all_waiting(3)
        open_.set()
        assert (await leader).code is StatusCode.INVALID_ARGUMENT
        assert [(one.code, one.x_cache) for one in await asyncio.gather(*followers)] == [(StatusCode.OK, "miss")] * 2


async def test_after_an_event_readers_share_a_fetch_that_stores_nothing(
    redis: RedisServer,
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_event_window=60.0)
        await process.event()
        gate = stack.media.hold(READ)
        readers = [process.reading() for _ in range(10)]
        await process.all_waiting(10)
        alone = process.reading(metadata=(("cache-control", "no-cache"),))
        await gate.reached(2)
        stack.media.add("User", 1)
        await process.event()  # a new mark: a later read must not join
        late = process.reading()
        await gate.reached(3)
        gate.open()
        assert sorted(one.x_cache for one in await asyncio.gather(*readers)) == ["coalesced"] * 9 + ["miss"]
        assert [(one.x_cache, one.ids) for one in (await late, await alone)] == [("miss", [1])] * 2
        assert stack.fetches == 3
        assert await process.found() is None
        assert await process.x_cache() == "miss"


def test_the_window_after_an_event() -> None:
    assert EVENT_WINDOW == 0.1


async def test_the_window_after_an_event_ends(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        await process.event()

        async def hit() -> bool:
            return await process.x_cache() == "hit"

        await until(hit, "an answer to be stored", timeout=5)


async def test_an_error_of_ours_reaches_every_waiter_and_the_lease_goes_back(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        open_ = asyncio.Event()

        async def broken(_: Call) -> Reply:
            await open_.wait()
            raise ZeroDivisionError

        monkeypatch.setattr(process.core.cache._fetches, "_fetch", broken)
        readers: list[asyncio.Task[Seen]] = [process.reading() for _ in range(3)]
        await process.all_waiting(3)
        open_.set()
        results: list[Any] = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(result) for result in results] == [ZeroDivisionError] * 3
        assert process.flights == 0
        await no_lease_left(redis)
