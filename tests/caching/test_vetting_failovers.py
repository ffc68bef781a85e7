"""Further tags when another server becomes master, behind Sentinel and in a Cluster: no answer outlives a change of
what it depends on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.in_process import Process, Stack
from tests.support.products import Products, by_slug, event
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster, SentinelSet
from tests.support.servers.waiting import until
from tests.support.services import policy_in

PRODUCT = 3
"""The product's id. In a Cluster, its tag is on another master than the slug's."""


async def stored(process: Process, slug: str = "mug") -> None:
    """Waits until an answer is stored, which takes a moment after an outage or an invalidation."""

    async def hit() -> bool:
        return (await by_slug(process, slug)).x_cache == "hit"

    await until(hit, "an answer to be stored")


async def changed(process: Process, products: Products) -> None:
    """Changes the product and applies its event; from then on, nobody may see the old one."""
    products.change(PRODUCT)
    await event(process, f"product/{PRODUCT}")
    seen = await by_slug(process, "mug")
    assert seen.version == products.versions[PRODUCT]
    assert seen.x_cache != "hit"


@asynccontextmanager
async def serving(address: str, directory: Path) -> AsyncIterator[tuple[Process, Products]]:
    async with Products({"mug": PRODUCT}) as products, Stack(address) as stack:
        process = await stack.process(policy=policy_in(directory, product=products.addr))
        await stored(process)
        yield process, products


async def test_behind_sentinel_what_was_stored_goes_with_its_product_on_the_new_master(tmp_path: Path) -> None:
    async with SentinelSet() as sentinels, serving(sentinels.addr, tmp_path) as (process, products):
        await changed(process, products)
        await stored(process)
        sentinels.master.kill()
        products.change(PRODUCT)
        invalidating = asyncio.create_task(
            event(process, f"product/{PRODUCT}")
        )  # returns once the new master has confirmed it
        await sentinels.failed_over()
        await invalidating
        seen = await by_slug(process, "mug")
        assert (seen.version, seen.x_cache == "hit") == (products.versions[PRODUCT], False)
        await stored(process)
        await changed(process, products)


async def test_behind_sentinel_a_fetch_from_before_the_failover_is_not_stored(tmp_path: Path) -> None:
    async with SentinelSet() as sentinels, serving(sentinels.addr, tmp_path) as (process, products):
        await changed(process, products)
        products.gated = True
        old = products.versions[PRODUCT]
        slow = asyncio.create_task(by_slug(process, "mug"))
        await products.reached()
        sentinels.master.kill()
        products.change(PRODUCT)
        invalidating = asyncio.create_task(event(process, f"product/{PRODUCT}"))
        await sentinels.failed_over()
        await invalidating
        products.open()
        assert (await slow).version == old  # it began before the change
        await stored(process)
        assert (await by_slug(process, "mug")).version == products.versions[PRODUCT]


@pytest.mark.parametrize("of", ["the product", "the slug"])
async def test_in_a_cluster_whose_master_is_replaced_by_its_replica(tmp_path: Path, of: str) -> None:
    """The replaced master is the one that knows what depends on the product, or the one with the stored answer."""
    async with RedisCluster() as cluster, serving(cluster.addr, tmp_path) as (process, products):
        names = {
            "the product": process.core.keys.of_tag(f"product/{PRODUCT}"),
            "the slug": process.core.keys.of_tag("slug/mug"),
        }
        owners = {name: await cluster.owner(key) for name, key in names.items()}
        assert owners["the product"] is not owners["the slug"]
        async with _replicated(cluster, owners[of]) as replica:
            owners[of].kill()
            products.change(PRODUCT)
            invalidating = asyncio.create_task(event(process, f"product/{PRODUCT}"))
            await replica.cli("CLUSTER", "FAILOVER", "TAKEOVER")
            await invalidating
            seen = await by_slug(process, "mug")
            assert (seen.version, seen.x_cache == "hit") == (products.versions[PRODUCT], False)
            await stored(process)
            await changed(process, products)


@asynccontextmanager
async def _replicated(cluster: RedisCluster, master: RedisServer) -> AsyncIterator[RedisServer]:
    """A replica of this master, which every node of the cluster knows."""
    async with RedisServer("cluster-enabled yes", "cluster-node-timeout 2000") as replica:
        await replica.cli("CLUSTER", "MEET", "127.0.0.1", master.port)
        own = await master.cli("CLUSTER", "MYID")

        async def known() -> bool:
            nodes = [await each.cli("CLUSTER", "NODES") for each in (*cluster.servers, replica)]
            return all(len(told.splitlines()) == len(cluster.servers) + 1 for told in nodes)

        await until(known, "the nodes to know the new one")
        await replica.cli("CLUSTER", "REPLICATE", own)

        async def in_sync() -> bool:
            return (await replica.info("replication")).get("master_link_status") == "up"

        await until(in_sync, "the replica to be in sync")

        async def told() -> bool:
            nodes = [await each.cli("CLUSTER", "NODES") for each in cluster.servers]
            return all(b"slave " + own in each for each in nodes)

        await until(told, "all to know that it is a replica")
        yield replica
