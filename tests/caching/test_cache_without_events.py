"""Reads while media events are missing: CACHE_TTL_WITHOUT_EVENTS counts from the fetch or the loss, the later one."""

import asyncio
import math
from typing import Any

import pytest
from grpc import StatusCode

from proxy.store.redis_listing import listing
from tests.admin.test_explain import explained
from tests.support.in_process import READ, USER, Process, Stack
from tests.support.media_methods import MediaKeys
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

KEY = MediaKeys("media", ()).of_tag(USER)


async def _header(redis: RedisServer) -> tuple[bytes, list[bytes], bytes]:
    """The only stored entry: its field, the words of its header, and the rest."""

    async def filled() -> bool:
        return bool([name for name in await redis.cli("HKEYS", KEY) if name.startswith(b"e")])

    await until(filled, "the fill to land")
    ((name, value),) = [pair for pair in (await redis.cli("HGETALL", KEY)).items() if pair[0].startswith(b"e")]
    header, _, rest = value.partition(b"\n")
    return name, header.split(b" "), rest


async def _aged(redis: RedisServer, seconds: float) -> None:
    """Makes the entry older by some seconds; the time until which it is fresh does not change."""
    name, words, rest = await _header(redis)
    words[2] = b"%d" % (int(words[2]) - seconds * 1000)
    await redis.cli("HSET", KEY, name, b" ".join(words) + b"\n" + rest)


async def _life_ms(redis: RedisServer) -> int:
    """How long the stored entry is fresh, counted from its fetch."""
    _, words, _ = await _header(redis)
    return int(words[3]) - int(words[2])


def _lost(process: Process, seconds_ago: float) -> None:
    process.core.gap.opened(asyncio.get_running_loop().time() - seconds_ago)


async def _with_entry(stack: Stack, redis: RedisServer, age: float, **settings: Any) -> Process:
    process = await stack.process(**settings)
    await process.read()
    await _aged(redis, age)
    return process


@pytest.mark.parametrize(
    ("age", "lost_ago", "expected"),
    [
        (1800, 30, "hit"),  # events were applied until half a minute ago
        (1800, 61, "miss"),
        (30, 600, "hit"),  # fetched during the gap
        (61, 600, "miss"),
        (30, math.inf, "hit"),  # never connected
        (61, math.inf, "miss"),
    ],
)
async def test_an_entry_counts_from_its_fetch_or_the_loss(
    redis: RedisServer, age: float, lost_ago: float, expected: str
) -> None:
    async with Stack(redis.addr) as stack:
        process = await _with_entry(stack, redis, age)
        other = await stack.process()
        assert (await process.found()) is not None
        _lost(process, lost_ago)
        assert await other.x_cache() == "hit"  # its own consumer lost nothing
        assert await process.x_cache() == expected  # neither the plain read nor the lease script serves it
        assert stack.fetches == (1 if expected == "hit" else 2)


async def test_what_is_stored_meanwhile_lives_no_longer_in_any_process(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        _lost(process, 600)
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        assert 57_000 <= await _life_ms(redis) <= 60_000
        process.core.gap.closed()
        assert await process.x_cache(metadata=(("cache-control", "no-cache"),)) == "miss"
        await until(lambda: _is_long(redis), "the fill with the whole TTL")


async def _is_long(redis: RedisServer) -> bool:
    return await _life_ms(redis) > 3_000_000


async def test_once_events_are_back_it_counts_for_its_ttl_again(redis: RedisServer) -> None:
    """A flush that may have been owed is done by then."""
    async with Stack(redis.addr) as stack:
        process = await _with_entry(stack, redis, 1800)
        _lost(process, 600)
        assert await process.found() is None
        process.core.gap.closed()
        assert await process.x_cache() == "hit"


@pytest.mark.parametrize(("lost_ago", "expected"), [(61 + 500, "stale"), (61 + 600, "miss")])
async def test_the_stale_allowance_counts_from_there(redis: RedisServer, lost_ago: float, expected: str) -> None:
    """The entry has only expired: while upstream is unavailable it may stand in for 10 minutes."""
    async with Stack(redis.addr) as stack:
        process = await _with_entry(stack, redis, 1800)
        _lost(process, lost_ago)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        seen = await process.read()
        assert (seen.x_cache, seen.code is StatusCode.OK) == (expected, expected == "stale")


async def test_an_invalidated_one_never_stands_in(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await _with_entry(stack, redis, 1800)
        _lost(process, 61)
        await process.event()
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        assert (await process.read()).code is StatusCode.UNAVAILABLE


async def test_a_duration_of_nothing_stores_nothing(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(cache_ttl_without_events=0.0)
        _lost(process, 1)
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "miss"]


async def test_what_is_told_of_it(redis: RedisServer) -> None:
    async with Stack(redis.addr) as stack:
        process = await _with_entry(stack, redis, 1800)
        _lost(process, 30)
        told = await explained(process)
        assert told.result == "hit"
        assert "Media events have been missing for 30 s" in told.why[1]
        process.core.gap.closed()
        _lost(process, 90)
        told = await explained(process)
        assert told.result == "miss"
        assert told.why[0].endswith("CACHE_TTL_WITHOUT_EVENTS ended 30 s ago.")
        assert any("missing for 90 s: stored answers are served for at most 60 s" in sentence for sentence in told.why)
        assert process.core.store is not None
        (entry,) = (
            await listing(process.core.store.topology, KEY, process.core.gap, process.core.policy.reads)
        ).entries
        assert entry.state == "no events"
        assert entry.ttl is not None
        assert -32 < entry.ttl < -29
        process.core.gap.closed()
        process.core.gap.opened(-math.inf)
        assert any("Media events have not arrived yet" in sentence for sentence in (await explained(process)).why)
