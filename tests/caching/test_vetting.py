"""Further tags: an answer is removed with any of them, and no read gets an answer that one of them has outdated."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from proxy.store import dependants
from tests.support.in_process import Process, Stack
from tests.support.products import SERVICE, Products, Seen, by_slug, event, listed, update
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import POLICIES, policy_in

_LISTS = """further_tags: "response.data.products.map(p, 'product/' + string(p.id))"\n        ttl: 5m\n"""


@pytest.fixture
async def products() -> AsyncIterator[Products]:
    async with Products({"mug": 7, "cup": 7, "lamp": 8}) as products:
        yield products


@pytest.fixture
async def stack(redis: RedisServer) -> AsyncIterator[Stack]:
    async with Stack(redis.addr) as stack:
        yield stack


@pytest.fixture
def policy(products: Products, tmp_path: Path) -> str:
    return policy_in(tmp_path, product=products.addr)


def _with_lists(directory: Path, products: Products) -> str:
    """A policy in which a list depends on each product in it."""
    policy = Path(policy_in(directory, product=products.addr))
    policy.write_text(policy.read_text().replace("ttl: 5m\n", _LISTS))
    return str(policy)


async def _own_write(process: Process) -> None:
    await update(process, 7)


async def _event(process: Process) -> None:
    await event(process, "product/7", "products")


async def _operator(process: Process) -> None:
    await process.core.invalidations.invalidate("product/7", source="admin")


@pytest.mark.parametrize("how", [_own_write, _event, _operator])
async def test_an_answer_goes_with_each_of_its_further_tags(
    stack: Stack, products: Products, policy: str, how: Callable[[Process], Awaitable[None]]
) -> None:
    reader, other = await stack.process(policy=policy), await stack.process(policy=policy)
    for slug in ("mug", "cup", "lamp"):
        assert [(await by_slug(reader, slug)).x_cache for _ in range(2)] == ["miss", "hit"]
    before = products.versions[7]
    await how(other)
    if how is not _own_write:
        products.change(7)
    for slug in ("mug", "cup"):
        assert await by_slug(reader, slug) == Seen("miss", before + 1)
    assert (await by_slug(reader, "lamp")).x_cache == "hit"


async def test_it_can_be_stored_again_soon_after(stack: Stack, products: Products, policy: str) -> None:
    process = await stack.process(policy=policy)
    await by_slug(process, "mug")
    await event(process, "product/7")

    async def hit() -> bool:
        return (await by_slug(process, "mug")).x_cache == "hit"

    await until(hit, "it to be stored again")


async def test_a_fetch_that_began_before_an_invalidation_is_not_stored(
    stack: Stack, products: Products, policy: str
) -> None:
    process = await stack.process(policy=policy)
    products.gated = True
    late = asyncio.create_task(by_slug(process, "mug"))
    await products.reached()
    products.change(7)
    await event(process, "product/7")
    products.open()
    assert await late == Seen("miss", 1)
    assert await by_slug(process, "mug") == Seen("miss", 2)


async def test_an_origin_may_publish_before_it_commits(stack: Stack, products: Products, policy: str) -> None:
    process = await stack.process(policy=policy, cache_event_window=30.0)
    await event(process, "product/7")
    assert [await by_slug(process, "mug") for _ in range(2)] == [Seen("miss", 1)] * 2
    assert (await by_slug(process, "lamp")).x_cache == "miss"
    assert (await by_slug(process, "lamp")).x_cache == "hit"


async def test_nothing_is_stored_while_a_write_is_under_way(stack: Stack, products: Products, policy: str) -> None:
    process = await stack.process(policy=policy)
    products.gated = True
    writing = asyncio.create_task(update(process, 7))
    await products.reached()
    products.gated = False
    assert [await by_slug(process, "mug") for _ in range(2)] == [Seen("miss", 1)] * 2
    products.open()
    await writing
    assert await by_slug(process, "mug") == Seen("miss", 2)


async def test_who_reads_after_an_invalidation_shares_no_fetch_from_before(
    stack: Stack, products: Products, policy: str
) -> None:
    process = await stack.process(policy=policy)
    products.gated = True
    early = asyncio.create_task(by_slug(process, "mug"))
    await products.reached()
    products.change(7)
    await event(process, "product/7")
    late = [asyncio.create_task(by_slug(process, "mug")) for _ in range(3)]
    await process.all_waiting(4)
    products.open()
    assert await early == Seen("miss", 1)
    assert [await each for each in late] == [Seen("miss", 2)] * 3


async def test_a_stampede_is_one_fetch(stack: Stack, products: Products, policy: str) -> None:
    process = await stack.process(policy=policy)
    products.gated = True
    readers = [asyncio.create_task(by_slug(process, "mug")) for _ in range(20)]
    await process.all_waiting(20)
    products.open()
    seen = await asyncio.gather(*readers)
    assert sorted(each.x_cache for each in seen) == ["coalesced"] * 19 + ["miss"]
    assert products.calls["GetProductBySlug"] == 1


async def test_a_failure_is_shared_by_nobody(stack: Stack, products: Products, policy: str) -> None:
    """Nothing in a failure says what it depends on."""
    process = await stack.process(policy=policy)
    products.gated = True
    readers = [asyncio.create_task(by_slug(process, "pot")) for _ in range(2)]
    await process.all_waiting(2)
    products.open()
    assert [(await each).x_cache for each in readers] == ["failure", "failure"] or products.calls[
        "GetProductBySlug"
    ] == 2


async def test_an_answer_with_too_many_is_not_stored(
    stack: Stack, products: Products, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = await stack.process(policy=_with_lists(tmp_path, products))
    products.slugs = {f"slug {number}": number for number in range(64)}
    assert [await listed(process) for _ in range(2)] == ["miss", "hit"]
    products.slugs["one more"] = 64
    assert [await listed(process, page=2) for _ in range(2)] == ["miss", "miss"]
    name = "media_cache_further_tags_refused_total"
    assert process.metric(name, method=process.metrics.methods.of(f"{SERVICE}GetAllProducts"), limit="answer") == 2
    (line,) = [record for record in caplog.records if "too many tags" in record.message]
    assert line.__dict__["reason"] == "the policy cannot tell: there are more than 64 tags"


async def test_a_tag_with_too_many_dependants_takes_no_more(
    stack: Stack, products: Products, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependants, "MOST_DEPENDANTS", 1)
    process = await stack.process(policy=policy)
    assert [(await by_slug(process, "mug")).x_cache for _ in range(2)] == ["miss", "hit"]
    assert [(await by_slug(process, "cup")).x_cache for _ in range(2)] == ["miss", "miss"]
    assert (
        process.metric(
            "media_cache_further_tags_refused_total",
            method=process.metrics.methods.of(f"{SERVICE}GetProductBySlug"),
            limit="tag",
        )
        == 2
    )
    await event(process, "product/7")
    assert (await by_slug(process, "mug")).x_cache == "miss"


@pytest.mark.parametrize(("setting", "seconds"), [("allkeys-lru", 300), ("noeviction", 3600)])
async def test_how_long_it_lives_where_redis_may_forget_what_depends_on_a_tag(
    own_redis: RedisServer, products: Products, policy: str, setting: str, seconds: int
) -> None:
    await own_redis.cli("CONFIG", "SET", "maxmemory-policy", setting)
    async with Stack(own_redis.addr) as stack:
        process = await stack.process(policy=policy)
        await by_slug(process, "mug")
        (key,) = await own_redis.cli("KEYS", "media:model:*")
        (field,) = [name for name in await own_redis.cli("HKEYS", key) if name.startswith(b"e")]
        _, _, born, fresh, stale, *_ = (await own_redis.cli("HGET", key, field)).split(b" ")
        assert 0.95 * seconds <= (int(fresh) - int(born)) / 1000 <= seconds
        assert int(stale) - int(born) <= (seconds + 600 if setting == "noeviction" else seconds) * 1000


def test_the_product_policy_has_further_tags() -> None:
    assert "further_tags" in (POLICIES / "product.yaml").read_text()
