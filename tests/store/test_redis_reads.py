"""A read in two halves finds the same as a whole one, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.calls.keys import RequestKey
from proxy.errors import RedisUnavailableError
from proxy.store.redis_node import CALL_BUDGET, Budget
from proxy.store.redis_reads import Look, Reads
from tests.support.in_process import Process, Stack, read_call
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until


@pytest.fixture
async def process(redis: RedisServer) -> AsyncIterator[Process]:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1)
        process = await stack.process()
        await process.read()
        await until(process.found, "the fill")
        yield process


def key_of(process: Process, model_id: int = 1) -> RequestKey:
    key, _ = process.core.cache._key_of(read_call(model_id=model_id))
    assert key is not None
    return key


async def in_halves(process: Process, key: RequestKey) -> Look:
    assert process.core.store is not None
    reads = process.core.store.reads
    look = reads.begin(key)
    assert look is not None
    await asyncio.wait([look.reply])
    return reads.ended(look)


async def test_both_find_the_same(process: Process) -> None:
    assert process.core.store is not None
    key = key_of(process)
    whole, halves = await process.core.store.read(key, Budget()), await in_halves(process, key)
    assert whole is not None
    assert halves.found is not None
    assert whole.entry == halves.found.entry
    assert 0 < halves.left < CALL_BUDGET
    other = await in_halves(process, key_of(process, model_id=2))
    assert (other.found, other.failed) == (None, False)


async def test_a_refusal_is_a_failure_of_both(process: Process, redis: RedisServer) -> None:
    assert process.core.store is not None
    key = key_of(process)
    await redis.cli("DEL", key.hash_key.decode())
    await redis.cli("SET", key.hash_key.decode(), "no hash")
    with pytest.raises(RedisUnavailableError, match="WRONGTYPE"):
        await process.core.store.read(key, Budget())
    look = await in_halves(process, key)
    assert (look.found, look.failed) == (None, True)


async def test_a_wait_that_was_given_up_found_nothing(process: Process) -> None:
    assert process.core.store is not None
    look = process.core.store.reads.begin(key_of(process))
    assert look is not None
    look.reply.cancel()
    assert process.core.store.reads.ended(look).found is None
    assert (look.failed, look.left) == (False, CALL_BUDGET)


async def test_without_a_node_there_is_nobody_to_ask(process: Process) -> None:
    reads, key = Reads(lambda _: None, process.core.gap), key_of(process)
    assert reads.begin(key) is None
    with pytest.raises(RedisUnavailableError, match="not connected yet"):
        await reads.read(key, Budget())
