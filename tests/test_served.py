"""proxy.served: a policy that changes is another object; calls in progress keep theirs."""

import asyncio
from pathlib import Path

from proxy.calls.call import Call
from proxy.policy.loading import load_policy
from tests.support.in_process import READ, Stack, read_call
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import policy_in


def media_alone(directory: Path, more: str = "") -> str:
    path = directory / "media.yaml"
    path.write_text(f"version: 1\nservices:\n  - {{name: media.MediaService, builtin: true{more}}}\n")
    return str(path)


async def test_what_is_stored_by_an_unchanged_read_is_found_again(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]
        process.core.take_up(load_policy(policy_in(tmp_path, product="shop:1")))
        assert await process.x_cache() == "hit"
        tag = "request.model_type.casefold() + '/' + string(request.model_id)"
        ttl = f', reads: [{{method: GetFilesByModel, tag: "{tag}", ttl: 7s}}]'
        process.core.take_up(load_policy(media_alone(tmp_path, ttl)))
        assert [await process.x_cache(), await process.x_cache()] == ["miss", "hit"]


async def test_a_fetch_in_progress_ends_as_it_began_and_is_waited_for_at_the_end(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        stack.media.hold(READ)
        before = process.core.served
        reading = process.reading()
        await until(lambda: before.cache.busy, "the fetch")
        process.core.take_up(load_policy(media_alone(tmp_path)))
        process.core.take_up(load_policy(media_alone(tmp_path)))
        assert process.core._retired[0] is before.cache
        stack.media.release(READ)
        assert (await reading).x_cache == "miss"
        await until(lambda: not before.cache.busy, "the fill")
        process.core.take_up(load_policy(media_alone(tmp_path)))
        assert before.cache not in process.core._retired


async def test_what_was_remembered_of_requests_is_forgotten(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process, call = await stack.process(), read_call()
        await process.x_cache()
        before = process.core.keys
        assert before.remembered(call.method, call.body, ()) is not None
        process.core.take_up(load_policy(media_alone(tmp_path)))
        assert before.remembered(call.method, call.body, ()) is None


async def test_a_service_that_is_gone_still_answers_the_calls_that_it_has(redis: RedisServer, tmp_path: Path) -> None:
    async with Stack(redis.addr) as stack:
        process = await stack.process()
        process.core.take_up(load_policy(policy_in(tmp_path, product="127.0.0.1:1")))
        before, path = process.core.served, "/product.ProductService/GetProductByID"
        process.core.take_up(load_policy(media_alone(tmp_path)))
        assert before.upstreams.of(path) is not process.core.upstream
        assert process.core.upstreams.of(path) is process.core.upstream
        assert path in before.answered
        assert path not in process.core.routes
        reply = await asyncio.wait_for(before.methods.read(Call(path, b"")), 5)
        assert reply.code.name == "UNAVAILABLE"
