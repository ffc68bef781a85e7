"""Flushes: requested, owed, and rate-limited."""

import asyncio
import logging

import pytest

from proxy.caching import invalidations
from proxy.caching.held import Intent
from proxy.caching.invalidations import Invalidations
from proxy.store.redis_node import Budget
from tests.support.in_process import UPLOAD, USER, Stack
from tests.support.scripted_store import Counts, Refusing, cancelled
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.servers.waiting import until


async def test_a_flush_is_done_when_it_returns(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with Stack(redis.addr) as stack:
        process, other = await stack.process(), await stack.process()
        for model_id in range(1, 21):
            await other.read(model_id=model_id)
        foreign = await stack.process(cache_namespace="foreign")
        assert [await foreign.x_cache(), await foreign.x_cache()] == ["miss", "hit"]
        await redis.cli("SET", "somebody-elses", "1")
        caplog.set_level(logging.INFO, logger="proxy")
        await process.core.invalidations.flush("asked for")
        assert {await other.x_cache(model_id=model_id) for model_id in range(1, 21)} == {"miss"}
        assert await foreign.x_cache() == "hit"
        assert await redis.cli("GET", "somebody-elses") == b"1"
        [wanted, done] = [
            record
            for record in caplog.records
            if record.name == "proxy.caching.invalidations" or "flush" in record.getMessage()
        ]
        assert (wanted.levelname, wanted.__dict__["reason"]) == ("WARNING", "asked for")
        assert (done.getMessage(), done.__dict__["models"]) == ("the whole cache was flushed", 20)


async def test_a_flush_reaches_every_master() -> None:
    async with RedisCluster() as cluster, Stack(cluster.addr) as stack:
        process = await stack.process(ready=False)
        store = process.core.store
        assert store is not None
        for model_id in range(1, 13):

            async def cached(model_id: int = model_id) -> bool:
                return await process.x_cache(model_id=model_id) == "hit"

            await until(cached, "every master to be used")
        await process.core.invalidations.flush("asked for")
        assert {await process.x_cache(model_id=model_id) for model_id in range(1, 13)} == {"miss"}


async def test_reads_bypass_while_a_flush_is_wanted(own_redis: RedisServer) -> None:
    async with Stack(own_redis.addr, hurried=True) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        own_redis.freeze()
        flushing = asyncio.create_task(process.core.invalidations.flush("asked for"))
        await until(lambda: process.core.invalidations.pending == 1, "the flush to be wanted")
        assert process.core.invalidations.held_back(USER)
        own_redis.thaw()
        await flushing
        assert not process.core.invalidations.held_back(USER)
        assert await process.x_cache() == "miss"


async def test_flushes_that_may_wait_are_limited_in_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidations, "_FLUSH_EVERY", 3600.0)
    monkeypatch.setattr(invalidations, "_RETRIED_AT_LEAST_EVERY", 0.001)
    store = Refusing()
    store.up = True
    ours = Invalidations(store, Counts())
    running = asyncio.create_task(ours.run())
    ours.flush_soon("one")
    await until(lambda: ours.pending == 0, "the first flush")
    for _ in range(10):
        ours.flush_soon("more")
    ours.invalidate_soon(USER)
    await until(lambda: ours.pending == 1, "the model, which need not wait")
    assert store.flushes == 1
    assert ours.held_back(USER)  # until it is done
    await ours.flush("one that must not wait")
    assert (store.flushes, ours.pending) == (2, 0)
    await cancelled(running)


def test_the_rate() -> None:
    assert invalidations._FLUSH_EVERY == 5.0


async def test_closing_does_not_wait_until_a_flush_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Refusing()
    store.up = True
    ours = Invalidations(store, Counts())
    await asyncio.gather(ours.flush("one"), ours.close())
    ours.flush_soon("another")
    await ours.close()
    assert (store.flushes, ours.pending) == (2, 0)


async def test_what_is_held_is_done_with_a_flush_but_not_what_comes_during_it() -> None:
    store, counts = Refusing(), Counts()
    ours = Invalidations(store, counts)
    before = asyncio.create_task(ours.invalidate(USER, source="event"))
    await until(lambda: ours.pending == 1, "it to be held")
    flushing = asyncio.create_task(ours.flush("asked for"))
    store.up, store.hold = True, asyncio.Event()
    store.asked.clear()
    closing = asyncio.create_task(ours.close())
    await until(lambda: store.flushes == 1, "the flush")
    ours.invalidate_soon(USER)
    store.hold.set()
    await closing
    await asyncio.gather(before, flushing)
    assert [model for model, _ in store.asked] == [USER]


async def test_a_flush_does_not_stand_for_intents() -> None:
    store = Refusing()
    store.up, store.refused_models = True, {USER}
    ours = Invalidations(store, Counts())
    loop = asyncio.get_running_loop()
    await ours.own_write(USER, Intent(b"i", loop.time() + 60), Budget())
    ours.flush_soon("asked for")
    await ours.close()
    assert (store.flushes, ours.pending, ours.held_back(USER)) == (1, 1, True)
    store.refused_models = set()
    await ours.close()
    assert ours.pending == 0
    assert store.asked[-1][1]["intent"] == b"i"


async def test_a_cancelled_flush_is_still_wanted() -> None:
    store = Refusing()
    store.hold = asyncio.Event()
    ours = Invalidations(store, Counts())
    flushing = asyncio.create_task(ours.flush("asked for"))
    running = asyncio.create_task(ours.run())
    await until(lambda: store.flushes == 1, "the flush")
    await cancelled(running)
    await cancelled(flushing)
    assert ours.held_back(USER)
    store.up = True
    store.hold.set()
    await ours.close()
    assert (store.flushes, ours.pending) == (2, 0)


async def test_a_flush_leaves_the_intents_of_writes_under_way(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        gate = stack.media.hold(UPLOAD)
        upload = asyncio.create_task(process.upload())
        await gate.reached()
        await process.core.invalidations.flush("asked for")
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]
        gate.open()
        await upload
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]


@pytest.mark.parametrize("source", ["event", "admin", "write"])
async def test_a_flush_counts_once_for_who_asked_and_only_when_it_is_done(source: str) -> None:
    store, counts = Refusing(), Counts()
    ours = Invalidations(store, counts)
    if source == "write":
        ours.flush_soon("a file was deleted whose model is not known")
    else:
        asked = asyncio.create_task(ours.flush("asked for", source=source))
        await until(lambda: ours.pending == 1, "the flush to be wanted")
    await ours.close()
    assert (store.flushes, counts.applied) == (1, [])
    store.up = True
    await ours.close()
    assert counts.applied == [(source, None)]
    if source != "write":
        await asked
