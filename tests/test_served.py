"""proxy.served: a policy that changes is another object; calls in progress keep theirs."""

import asyncio
from pathlib import Path

import pytest

from proxy.calls.call import Call
from proxy.policy.loading import load_policy
from tests.support.in_process import READ, Stack, read_call
from tests.support.products import Products
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import catalogue_serving, policy_in


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


CATALOGUE = "/hipstershop.ProductCatalogService/"


def catalogue_in(directory: Path, policy: str, tag: str, further: str) -> str:
    """The same policy, in which the catalogue's list lies under this tag, and its products are items."""
    before, name, after = Path(policy).read_text().partition(CATALOGUE.strip("/"))
    after = after.replace("\"'product/' + request.id\"", "\"'item/' + request.id\"")
    path = directory / "catalogue.yaml"
    path.write_text(before + name + after.replace("\"'products'\"", f"\"'{tag}'\"{further}"))
    return str(path)


@pytest.mark.parametrize("how", ["further tag", "same tag", "neither"])
async def test_a_flush_of_a_services_share_takes_what_others_store_that_depends_on_its_tags(
    redis: RedisServer, tmp_path: Path, how: str
) -> None:
    """The list names the products that it holds, or lies under a tag that the product service's writes name."""
    tag = {"further tag": "catalogue", "same tag": "products", "neither": "catalogue"}[how]
    further = "\n        further_tags: \"response.products.map(p, 'product/' + p.id)\"" if how == "further tag" else ""
    async with (
        Products({"mug": 1}) as products,
        catalogue_serving() as (catalogue, address),
        Stack(redis.addr) as stack,
    ):
        policy = catalogue_in(tmp_path, policy_in(tmp_path, product=products.addr, catalogue=address), tag, further)
        process = await stack.process(policy=policy)

        async def listed() -> str:
            reply = await process.core.methods.read(Call(f"{CATALOGUE}ListProducts", b""))
            return str(dict(reply.trailing_metadata)["x-cache"])

        assert [await listed() for _ in range(2)] == ["miss", "hit"]
        assert [await process.x_cache() for _ in range(2)] == ["miss", "hit"]
        await process.core.invalidations.flush("asked for", service="product.ProductService")
        assert await listed() == ("hit" if how == "neither" else "miss")
        assert await process.x_cache() == "hit"
        # A fetch that began before the flush is not stored after it.
        if how == "further tag":
            catalogue.held = asyncio.Event()
            await process.core.invalidations.flush("asked for", service="product.ProductService")
            slow = asyncio.create_task(listed())
            await until(lambda: len(catalogue.calls) == 3, "the fetch")
            await process.core.invalidations.flush("asked for", service="product.ProductService")
            catalogue.held.set()
            assert [await slow, await listed()] == ["miss", "miss"]
