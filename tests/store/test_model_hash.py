"""Redis' clock is set back: stored times that are now in the future are ignored."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.pb import media_pb2 as pb
from proxy.store.redis_listing import listing
from proxy.store.redis_node import Budget
from proxy.store.redis_pings import Pings
from tests.support.in_process import USER, Process, Stack, read_call
from tests.support.media_methods import verdict
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

_HOUR = 3600.0


@pytest.fixture
async def ahead() -> AsyncIterator[RedisServer]:
    """A Redis whose clock is an hour ahead, until it is set back."""
    async with RedisServer(own_clock=True) as server:
        server.set_clock(_HOUR)
        yield server


async def _entry(process: Process) -> None:
    assert [await process.x_cache() for _ in range(2)] == ["miss", "hit"]


async def _mark(process: Process) -> None:
    await process.event()


async def _intent(process: Process) -> None:
    assert process.core.store is not None
    await process.core.store.invalidate(USER, timeout=5, intent=b"x", intent_ms=30_000)


async def _lease(process: Process) -> None:
    store, (key, _) = process.core.store, process.core.cache._key_of(read_call())
    assert store is not None
    assert key is not None
    assert (await store.acquire(key, Budget(5))).kind == "lease"


@pytest.mark.parametrize("leave", [_entry, _mark, _intent, _lease], ids=lambda leave: str(leave.__name__)[1:])
async def test_what_was_left_before_counts_for_nothing(
    ahead: RedisServer, leave: Callable[[Process], Awaitable[None]]
) -> None:
    async with Stack(ahead.addr) as stack:
        await leave(await stack.process())
    ahead.set_clock(0)
    async with Stack(ahead.addr) as stack:  # it never saw the clock before the change
        process = await stack.process()
        assert [await process.x_cache() for _ in range(2)] == ["miss", "hit"]
        assert stack.fetches == 1


async def test_an_entry_that_is_yet_to_be_is_removed_and_not_only_passed_over(ahead: RedisServer) -> None:
    async with Stack(ahead.addr) as stack:
        await _entry(await stack.process())
    ahead.set_clock(0)
    async with Stack(ahead.addr) as stack:
        await _lease(await stack.process())
        [key] = await ahead.cli("KEYS", "media:model:*")
        assert [name[:1] for name in await ahead.cli("HKEYS", key)] == [b"l"]


async def test_an_operator_is_told_why_it_does_not_count(ahead: RedisServer) -> None:
    async with Stack(ahead.addr) as stack:
        await _entry(await stack.process())
    ahead.set_clock(0)
    async with Stack(ahead.addr) as stack:
        process = await stack.process()
        store, (key, _) = process.core.store, process.core.cache._key_of(read_call())
        assert store is not None
        assert key is not None
        told = await listing(store.topology, key.hash_key, store.gap, process.core.policy.reads)
        assert [entry.state for entry in told.entries] == ["other clock"]


async def test_what_was_left_before_is_removed_by_an_invalidation(ahead: RedisServer) -> None:
    async with Stack(ahead.addr) as stack:
        process = await stack.process()
        await _intent(process)
        await _mark(process)
    ahead.set_clock(0)
    async with Stack(ahead.addr) as stack:
        process = await stack.process()
        assert process.core.store is not None
        await process.core.store.invalidate(USER, timeout=5)
        assert await ahead.cli("KEYS", "media:model:*") == []


async def test_an_answer_is_not_stored_by_a_lease_that_is_yet_to_be_given(
    ahead: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pings, "_tell", lambda pings, set_back: None)  # a flush would end the lease as well
    async with Stack(ahead.addr) as stack:
        process = await stack.process()
        store, (key, _) = process.core.store, process.core.cache._key_of(read_call())
        assert store is not None
        assert key is not None
        grant = await store.acquire(key, Budget(5))
        ahead.set_clock(0)
        body = pb.GetFilesByModelResponse(success=True).SerializeToString()
        done = store.fill(key, grant, body, verdict(), 0.0)
        assert done is not None
        assert await done == 0


async def test_whoever_sees_it_says_so_once_and_flushes(ahead: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with Stack(ahead.addr) as stack:
        process = await stack.process()
        await _entry(process)
        ahead.set_clock(0)
        await until(lambda: "the whole cache was flushed" in caplog.text, "the flush")
        assert [await process.x_cache() for _ in range(2)] == ["miss", "hit"]
        await process.core.store._topology.nodes()[0]._pings._once()  # type: ignore[union-attr]
        lines = [record.getMessage() for record in caplog.records if "set back" in record.getMessage()]
        assert lines == ["Redis' clock was set back by 3600 s: the whole cache will be flushed"]


async def test_a_clock_that_is_set_forward_is_no_reason(ahead: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    ahead.set_clock(0)
    async with Stack(ahead.addr) as stack:
        process = await stack.process()
        await _entry(process)
        ahead.set_clock(600)
        await process.core.store._topology.nodes()[0]._pings._once()  # type: ignore[union-attr]
        assert await process.x_cache() == "hit"
        assert "set back" not in caplog.text


async def test_a_clock_that_is_behind_prolongs_no_url(ahead: RedisServer) -> None:
    ahead.set_clock(-_HOUR)
    async with Stack(ahead.addr) as stack:
        ends = int(time.time()) + 1800
        stack.media.add("user", 1, presigned_url=f"https://files.example/a.jpg?Expires={ends}&Signature=x")
        process = await stack.process()
        await process.read()
        found = await process.stored()
        assert found is not None
        assert found.entry.stale_until_ms - found.entry.born_ms <= (1800 - 300) * 1000
