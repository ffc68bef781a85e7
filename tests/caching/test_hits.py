"""proxy.caching.hits: the fast path of a hit, on a core and a real Redis; and where it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.calls.call import Call
from proxy.store.redis_reads import Look
from tests.support.in_process import USER, Process, Stack, read_call
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


@pytest.fixture
async def stack(redis: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1)
        yield stack


async def looked(process: Process, call: Call) -> Look | None:
    """What the fast path finds; None if it is not taken."""
    look = process.core.hits[0].begin(call.body, call.metadata)
    if look is None:
        return None
    await asyncio.wait([look.reply])
    return process.core.hits[0].ended(look)


async def known(stack: Stack) -> Process:
    """A process that remembers the key of an answer that Redis has."""
    process = await stack.process()
    await process.read()
    await until(process.found, "the fill")
    return process


async def test_a_read_seen_before_is_a_hit_and_counted_once(stack: Stack) -> None:
    process = await known(stack)
    found = await looked(process, read_call())
    assert found is not None
    assert found.found is not None
    assert found.found.fresh
    assert found.found.entry.body == (await process.read()).reply.body
    labels = {"method": "GetFilesByModel", "result": "hit", "tier": "redis"}
    before = process.metric("media_cache_requests_total", **labels)
    process.core.hits[0].answered(found, 0.0)
    assert process.metric("media_cache_requests_total", **labels) == before + 1
    ok = {"rpc_system_name": "grpc", "rpc_method": "media.MediaService/GetFilesByModel"}
    ok |= {"rpc_status_code": "OK", "error_type": ""}
    assert process.metric("rpc_server_call_duration_seconds_count", **ok) == 1


async def test_a_key_that_is_not_remembered_takes_the_long_way(stack: Stack) -> None:
    process = await known(stack)
    assert await looked(process, read_call(model_id=2)) is None
    assert await looked(process, read_call(metadata=(("authorization", "another caller"),))) is None


@pytest.mark.parametrize("mode", ["off", "shadow"])
async def test_other_modes_take_the_long_way(stack: Stack, mode: str) -> None:
    process = await known(stack)
    process.core.cache.policy.mode = mode
    assert await looked(process, read_call()) is None


async def test_a_large_page_takes_the_long_way(stack: Stack) -> None:
    process = await known(stack)
    assert await process.x_cache(per_page=100) == "bypass"
    assert await looked(process, read_call(per_page=100)) is None


async def test_what_was_invalidated_goes_on_as_a_miss_without_a_second_look(stack: Stack) -> None:
    process = await known(stack)
    await (await stack.process()).event(USER)
    found = await looked(process, read_call())
    assert found is not None
    assert found.found is None
    fetches = stack.fetches
    call = read_call()
    call.looked = found
    answer = await process.core.cache.get(call)
    assert (answer.result, stack.fetches) == ("miss", fetches + 1)


async def test_a_model_whose_invalidation_is_held_takes_the_long_way(stack: Stack, own_redis: RedisServer) -> None:
    process = await stack.process(redis_addr=own_redis.addr)
    await process.read()
    await until(process.found, "the fill")
    process.core.invalidations.invalidate_soon(USER)
    assert await looked(process, read_call()) is None


async def test_a_redis_that_does_not_answer_ends_in_a_forwarded_call(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        stack.media.add("User", 1)
        process = await stack.process()
        await process.read()
        await until(process.found, "the fill")
        own_redis.freeze()
        found: list[Look] = []

        async def failed() -> bool:
            one = await looked(process, read_call())
            found.extend([one] if one is not None else [])
            return one is None  # the breaker is open by now

        await until(failed, "the breaker to open")
        call = read_call()
        call.looked = found[-1]
        fetches = stack.fetches
        answer = await process.core.cache.get(call)
        own_redis.thaw()
        assert found[-1].failed
        assert (answer.result, stack.fetches) == ("miss", fetches + 1)
