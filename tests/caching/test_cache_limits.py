"""What a policy says about how long a read's answers live overrides the settings."""

from pathlib import Path

import pytest
from grpc import StatusCode

from tests.support.in_process import READ, Process, Stack
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import media_policy_in


async def stored_and_over(stack: Stack, process: Process) -> None:
    """Waits until a stored answer has expired."""
    await until(lambda: _stored(process), "an answer to be stored")
    filled = await stack.now_ms()

    async def over() -> bool:
        return await stack.now_ms() > filled + 50 and await process.found() is None

    await until(over, "its time to be over")


async def _stored(process: Process) -> bool:
    await process.read()
    return await process.stored() is not None


async def test_its_callers_are_told_apart_by_its_own_metadata(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(policy=media_policy_in(tmp_path, "vary: x-tenant"))
        for name, ways in (("x-tenant", ["miss", "miss", "hit"]), ("authorization", ["miss", "hit", "hit"])):
            model = len(name)
            found = [await process.x_cache(model_id=model, metadata=((name, value),)) for value in ("a", "b", "b")]
            assert found == ways, name


async def test_its_largest_answer_is_its_own(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        stack.media.add("User", 1)
        process = await stack.process(policy=media_policy_in(tmp_path, "max_entry_bytes: 1"))
        assert [await process.x_cache() for _ in range(2)] == ["miss", "miss"]


@pytest.mark.parametrize(("more", "result"), [("", "miss"), (", stale_if_error: 1h", "stale")])
async def test_it_stands_in_for_as_long_as_it_says(redis: RedisServer, tmp_path: Path, more: str, result: str) -> None:
    async with Stack(redis.addr) as stack:
        policy = media_policy_in(tmp_path, f"ttl: 50ms{more}")
        process = await stack.process(policy=policy, cache_stale_if_error=0.0)
        if more:
            await stored_and_over(stack, process)
        stack.media.fail(READ, StatusCode.UNAVAILABLE)
        seen = await process.read(model_id=1 if more else 2)
        assert (seen.x_cache, seen.code is StatusCode.OK) == (result, bool(more))


async def test_it_is_revalidated_for_as_long_as_it_says(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(policy=media_policy_in(tmp_path, "ttl: 50ms, stale_while_revalidate: 1h"))
        await stored_and_over(stack, process)
        stack.media.add("User", 1)
        seen = await process.read()
        assert (seen.x_cache, seen.ids) == ("stale", [])
        await until(lambda: process.core.cache._refreshes == {}, "the refresh")


async def test_its_ttl_counts(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process(policy=media_policy_in(tmp_path, "ttl: 7m"), cache_ttl=60.0)
        await process.read()
        found = await process.found()
        assert found is not None
        assert 6.5 * 60_000 < found.entry.fresh_until_ms - found.entry.born_ms <= 7 * 60_000
