"""A flush of one service removes what is stored or fetched for it, and keeps what certainly belongs to others."""

import asyncio

from examples.pb import product_pb2 as product
from proxy.calls.call import Call
from proxy.calls.keys import Keys, RequestKey, share_of
from proxy.policy.loading import load_policy
from proxy.store.redis_node import Budget
from tests.support.media_methods import GET_FILES_BY_MODEL
from tests.support.redis_parts import body_of, cached, filled, leased, request_key, storing
from tests.support.servers.process import ROOT
from tests.support.servers.redis import RedisServer
from tests.support.servers.redis_sets import RedisCluster

POLICY = load_policy(str(ROOT / "examples" / "policies" / "product.yaml"))
KEYS = Keys("media", ("authorization",), POLICY.reads)
MEDIA, PRODUCT = "media.MediaService", "product.ProductService"


def product_key(number: int) -> RequestKey:
    """The key of a GetProductByID."""
    body = product.GetProductByIDRequest(id=number).SerializeToString()
    key = KEYS.of_call(Call(f"/{PRODUCT}/GetProductByID", body))
    assert key is not None
    return key


def test_fields_begin_with_their_services_share() -> None:
    assert product_key(1).field.startswith(share_of(PRODUCT))
    assert request_key().field.startswith(share_of(MEDIA))
    assert request_key().read.path == GET_FILES_BY_MODEL
    assert (len(product_key(1).field), len({product_key(number).field for number in range(100)})) == (16, 100)


async def test_only_the_services_entries_and_leases_go(redis: RedisServer) -> None:
    async with storing(redis.addr) as store:
        for number in range(300):
            await cached(store, product_key(number))
            await cached(store, request_key(number))
        ours, theirs = await leased(store, product_key(1000)), await leased(store, request_key(1000))
        assert await store.flush([PRODUCT]) == 301
        assert not await filled(store, product_key(1000), ours)
        assert await filled(store, request_key(1000), theirs)
        assert {await body_of(store, product_key(number)) for number in range(300)} == {None}
        assert {await body_of(store, request_key(number)) for number in range(300)} == {b"body"}
        assert await store.flush([PRODUCT, MEDIA]) == 301


async def test_what_shares_a_hash_with_it_goes_too(redis: RedisServer) -> None:
    """A mark does not say which services' fetches are shared on it, and two services may use one tag."""
    async with storing(redis.addr) as store:
        marked = request_key(1)
        await store.invalidate(marked.tag, timeout=5, intent=b"mine", intent_ms=600_000)
        before = (await store.acquire(marked, Budget(5))).token
        assert await store.flush([PRODUCT]) == 1
        after = (await store.acquire(marked, Budget(5))).token
        assert before != after  # so that nobody joins a fetch from before


async def test_every_master_of_a_cluster_is_asked() -> None:
    async with RedisCluster() as cluster, storing(cluster.addr) as store:
        for number in range(20):
            await cached(store, product_key(number))
            await cached(store, request_key(number))
        assert await store.flush([PRODUCT]) == 20
        found = await asyncio.gather(*(body_of(store, product_key(number)) for number in range(20)))
        kept = await asyncio.gather(*(body_of(store, request_key(number)) for number in range(20)))
        assert (set(found), set(kept)) == ({None}, {b"body"})
