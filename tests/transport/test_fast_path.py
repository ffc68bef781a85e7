"""The fast path of a hit through both transports: the answers of the slow path, and every place given back."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from proxy.calls.call import Metadata
from tests.support.fast_paths import REQUEST, Answer, Way, over_envoy, over_grpcio
from tests.support.in_process import USER, Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


@pytest.fixture
async def way(redis: RedisServer, transport: str) -> AsyncIterator[Way]:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1)
        process = await stack.process()
        async with (over_envoy if transport == "envoy" else over_grpcio)(process) as way:
            yield way


async def test_a_hit_takes_it_and_is_answered_as_on_the_long_way(way: Way) -> None:
    assert (await way.ask(())).x_cache == "miss"
    await until(way.process.found, "the fill")
    assert way.asked == []
    fast = await way.ask(())
    assert way.asked == [REQUEST]
    long = await way.process.read()
    assert fast.body == long.reply.body
    assert fast.trailers == {key: str(value) for key, value in long.reply.trailing_metadata}


async def test_a_caller_told_apart_by_metadata_takes_it_too(way: Way) -> None:
    caller: Metadata = (("authorization", "Bearer a"),)
    await way.ask(caller)
    await until(lambda: way.process.found(metadata=caller), "the fill")
    assert (await way.ask(caller)).x_cache == "hit"
    assert (await way.ask((("authorization", "Bearer b"),))).x_cache == "miss"
    assert way.asked == [REQUEST]


async def test_who_wants_a_fresh_answer_does_not(way: Way) -> None:
    await way.ask(())
    await until(way.process.found, "the fill")
    assert (await way.ask((("cache-control", "no-cache"),))).x_cache == "miss"
    assert way.asked == []


async def test_what_was_invalidated_is_fetched_once_more(way: Way) -> None:
    await way.ask(())
    await until(way.process.found, "the fill")
    await way.process.core.invalidations.invalidate(USER, source="admin")
    assert (await way.ask(())).x_cache == "miss"
    assert way.asked == [REQUEST]


async def test_every_place_is_given_back(way: Way) -> None:
    for metadata in ((), (), (("cache-control", "no-store"),)):
        await way.ask(metadata)
        await until(way.process.found, "the fill")
    await until(lambda: way.admission.in_progress == 0, "all calls to have left")


async def test_without_a_common_place_it_is_the_long_way_that_decides(way: Way) -> None:
    await way.ask(())
    await until(way.process.found, "the fill")
    while way.admission.enter_common():
        pass
    assert (await way.ask(())).x_cache == "hit"
    assert way.asked == []


async def test_a_fault_of_ours_on_it_is_logged_and_the_long_way_answers(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await way.ask(())
    await until(way.process.found, "the fill")

    def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(way.hits, "ended", broken)
    with caplog.at_level(logging.ERROR):
        assert (await way.ask(())).x_cache == "hit"
    assert "failed on the fast path" in caplog.text


async def test_a_caller_who_leaves_while_redis_is_asked_is_counted_once(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr) as stack:
        stack.media.add("User", 1)
        process = await stack.process()
        async with over_grpcio(process) as way:
            await way.ask(())
            await until(process.found, "the fill")
            own_redis.freeze()
            call = asyncio.create_task(_asking(way))
            await until(lambda: way.asked, "Redis to be asked")
            call.cancel()
            await until(lambda: way.admission.in_progress == 0, "the call to have left")
            own_redis.thaw()
        left = {"rpc_system_name": "grpc", "rpc_method": "media.MediaService/GetFilesByModel"}
        left |= {"rpc_status_code": "CANCELLED", "error_type": ""}
        await until(lambda: process.metric("rpc_server_call_duration_seconds_count", **left) == 1, "it to be counted")


async def _asking(way: Way) -> Answer:
    return await way.ask(())
