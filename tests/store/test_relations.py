"""Which answers depend on which tags, read from a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.store.redis_listing import Listing
from proxy.store.relations import looked_up
from tests.support.in_process import Process, Stack
from tests.support.products import Products, by_slug, event
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster
from tests.support.services import policy_in


async def told(process: Process, tag: str) -> Listing:
    core = process.core
    assert core.store is not None
    return await looked_up(core.store.topology, core.keys, tag, core.gap, core.policy.reads)


@asynccontextmanager
async def scene(address: str, directory: Path, slugs: int = 2) -> AsyncIterator[Process]:
    async with Products({f"mug-{number}": 7 for number in range(slugs)}) as products, Stack(address) as stack:
        process = await stack.process(policy=policy_in(directory, product=products.addr))
        for number in range(slugs):
            await by_slug(process, f"mug-{number}")
            assert (await by_slug(process, f"mug-{number}")).x_cache == "hit"
        yield process


async def test_both_sides_tell_of_each_other_until_an_invalidation(redis: RedisServer, tmp_path: Path) -> None:
    async with scene(redis.addr, tmp_path) as process:
        (entry,) = (await told(process, "slug/mug-0")).entries
        assert entry.further_tags == ["product/7"]
        found = await told(process, "product/7")
        assert (found.entries, found.dependants_count) == ([], 2)
        assert [each.tag for each in found.dependants] == ["slug/mug-0", "slug/mug-1"]
        assert all(each.ttl > 3000 for each in found.dependants)
        await event(process, "product/7")
        assert (await told(process, "slug/mug-0")).entries == []
        found = await told(process, "product/7")
        assert (found.dependants, found.dependants_count) == ([], 0)


async def test_in_a_cluster_too(tmp_path: Path) -> None:
    async with RedisCluster() as cluster, scene(cluster.addr, tmp_path) as process:
        assert [each.tag for each in (await told(process, "product/7")).dependants] == ["slug/mug-0", "slug/mug-1"]
        assert (await told(process, "slug/mug-1")).entries[0].further_tags == ["product/7"]


async def test_of_many_a_hundred_are_named(redis: RedisServer, tmp_path: Path) -> None:
    async with scene(redis.addr, tmp_path, slugs=103) as process:
        found = await told(process, "product/7")
        assert (len(found.dependants), found.dependants_count) == (100, 103)


@pytest.mark.parametrize("value", [b"", b"x", b"1 2 3 4 5 99999999999 7\nx", b"1 2 3 4 5 -3 7\n", b"\n\n"])
async def test_foreign_bytes_tell_of_nothing(redis: RedisServer, tmp_path: Path, value: bytes) -> None:
    async with scene(redis.addr, tmp_path, slugs=1) as process:
        before = await told(process, "slug/mug-0")
        key, field = process.core.keys.of_tag("slug/mug-0"), b"e" + bytes.fromhex(before.entries[0].field)
        async with redis.client() as client:
            await client.hset(key, field, value)
            await client.set(process.core.keys.of_dependants("slug/mug-0"), "no hash")
        found = await told(process, "slug/mug-0")
        assert [entry.further_tags for entry in found.entries] == [None]
        assert found.dependants == []
