"""Several services behind one proxy, each routed to its own upstream and cached by policy alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from examples.pb import boutique_pb2 as boutique
from examples.pb import product_pb2 as product
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceStub
from examples.pb.product_pb2_grpc import ProductServiceStub
from examples.product_service.server import running
from examples.product_service.settings import ProductSettings
from proxy.pb import media_pb2 as media
from proxy.pb.media_pb2_grpc import MediaServiceStub
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.services import Catalogue, catalogue_serving, policy_in


@dataclass
class Services:
    """A proxy, three services behind it, and callers of each through it."""

    proxy: ProxyProcess
    catalogue: Catalogue
    media: Any
    products: Any
    boutique: Any
    straight: Any
    """The product service itself."""


@asynccontextmanager
async def serving(
    redis: RedisServer,
    directory: Path,
    transport: str,
    events: str = "",
    change: tuple[str, str] = ("", ""),
    **settings: str,
) -> AsyncIterator[Services]:
    async with (
        FakeMediaServer() as origin,
        running(
            ProductSettings(listen_addr="127.0.0.1:0", latency=0, rabbitmq_addr=(events,) if events else ())
        ) as shop,
        catalogue_serving() as (catalogue, address),
        grpc.aio.insecure_channel(shop.address) as straight,
    ):
        policy = policy_in(directory, product=shop.address, catalogue=address, change=change)
        async with (
            ProxyProcess(
                TRANSPORT=transport,
                MEDIA_SERVICE_ADDR=origin.addr,
                REDIS_ADDR=redis.addr,
                POLICY=policy,
                **settings,
            ) as proxy,
            grpc.aio.insecure_channel(proxy.addr) as channel,
        ):
            origin.media.add("User", 1)
            if events:
                await shop.events.connected.wait()
            yield Services(
                proxy,
                catalogue,
                MediaServiceStub(channel),
                ProductServiceStub(channel),
                ProductCatalogServiceStub(channel),
                ProductServiceStub(straight),
            )


async def x_cache(call: Any) -> str:
    await call
    return str(dict(await call.trailing_metadata())["x-cache"])


TRANSPORTS = pytest.mark.parametrize("transport", ["grpcio", "envoy"])


@TRANSPORTS
async def test_each_service_is_cached_by_its_policy(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as services:
        one = media.GetFilesByModelRequest(model_type="user", model_id=1)
        assert [await x_cache(services.media.GetFilesByModel(one)) for _ in range(2)] == ["miss", "hit"]
        mug = product.GetProductByIDRequest(id=1)
        assert [await x_cache(services.products.GetProductByID(mug)) for _ in range(2)] == ["miss", "hit"]
        assert (await services.products.GetProductByID(mug)).data.slug == "mug"
        for request in (boutique.GetProductRequest(id="MUG"), boutique.GetProductRequest(id="LAMP")):
            assert [await x_cache(services.boutique.GetProduct(request)) for _ in range(2)] == ["miss", "hit"]
        assert [await x_cache(services.boutique.ListProducts(boutique.Empty())) for _ in range(2)] == ["miss", "hit"]
        assert services.catalogue.calls == ["GetProduct", "GetProduct", "ListProducts"]


@TRANSPORTS
async def test_a_write_invalidates_each_tag_that_it_names(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as services:
        mug, lamp = product.GetProductByIDRequest(id=1), product.GetProductByIDRequest(id=2)
        every = product.GetAllProductsRequest()
        for call in (services.products.GetProductByID, services.products.GetAllProducts):
            for request in (mug, lamp) if call is services.products.GetProductByID else (every,):
                assert [await x_cache(call(request)) for _ in range(2)] == ["miss", "hit"]
        changed = await services.products.UpdateProduct(product.UpdateProductRequest(id=1, name="A better mug"))
        assert changed.success
        assert (await services.products.GetProductByID(mug)).data.name == "A better mug"
        assert "A better mug" in str(await services.products.GetAllProducts(every))
        assert await x_cache(services.products.GetProductByID(lamp)) == "hit"


@TRANSPORTS
async def test_failures_are_not_stored(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as services:
        nobody = product.GetProductByIDRequest(id=99)
        assert [await x_cache(services.products.GetProductByID(nobody)) for _ in range(2)] == ["miss", "miss"]


@TRANSPORTS
async def test_what_is_asked_by_slug_goes_with_the_product_that_it_is(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, tmp_path, transport) as services:
        read = services.products.GetProductBySlug
        mug, lamp = (product.GetProductBySlugRequest(slug=slug) for slug in ("mug", "lamp"))
        for slug in (mug, lamp):
            assert [await x_cache(read(slug)) for _ in range(2)] == ["miss", "hit"]
        found = (await read(mug)).data.id
        await services.products.UpdateProduct(product.UpdateProductRequest(id=found, name="A better mug"))
        assert (await read(mug)).data.name == "A better mug"
        assert await x_cache(read(lamp)) == "hit"


@TRANSPORTS
async def test_what_is_not_in_the_key_does_not_reach_the_origin(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, tmp_path, transport) as services:
        metadata = (("x-tenant", "a"), ("authorization", "Bearer b"), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01"))
        await services.boutique.GetProduct(boutique.GetProductRequest(id="MUG"), metadata=metadata)
        (seen,) = services.catalogue.metadata
        assert "x-tenant" not in seen
        assert seen["authorization"] == "Bearer b"
        assert "traceparent" in seen
        long = boutique.SearchProductsRequest(query="x" * 101)  # bypassed: it is nobody else's
        await services.boutique.SearchProducts(long, metadata=metadata)
        assert services.catalogue.metadata[-1]["x-tenant"] == "a"


@TRANSPORTS
async def test_the_origin_may_forbid_storing(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as services:
        services.catalogue.control = "no-store"
        mug = boutique.GetProductRequest(id="MUG")
        assert [await x_cache(services.boutique.GetProduct(mug)) for _ in range(2)] == ["miss", "miss"]
        services.catalogue.control = "max-age=1"
        assert [await x_cache(services.boutique.GetProduct(mug)) for _ in range(2)] == ["miss", "hit"]

        async def expired() -> bool:
            return await x_cache(services.boutique.GetProduct(mug)) == "miss"

        await until(expired, "the answer to run out")


@TRANSPORTS
async def test_a_status_is_stored_as_long_as_the_policy_says(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    kept = (
        "tag: \"'product/' + request.id\"\n",
        "tag: \"'product/' + request.id\"\n        negative_ttl: {NOT_FOUND: 1m}\n",
    )
    async with serving(redis, tmp_path, transport, change=kept) as services:

        async def asked() -> tuple[str, str, object]:
            call = services.boutique.GetProduct(boutique.GetProductRequest(id="HAT"))
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call
            trailing = dict(failed.value.trailing_metadata() or ())
            return failed.value.details() or "", str(trailing["x-cache"]), trailing.get("age")

        found = [await asked() for _ in range(3)]
        assert [each[:2] for each in found] == [("no product with ID HAT", way) for way in ("miss", "hit", "hit")]
        assert [each[2] is None for each in found] == [True, False, False]
        assert services.catalogue.calls == ["GetProduct"]
        mug = boutique.GetProductRequest(id="MUG")
        assert [await x_cache(services.boutique.GetProduct(mug)) for _ in range(2)] == ["miss", "hit"]
        services.catalogue.control = "no-store"
        cap = boutique.GetProductRequest(id="CAP")
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError):
                await services.boutique.GetProduct(cap)
        assert services.catalogue.calls.count("GetProduct") == 4


@TRANSPORTS
async def test_what_no_policy_names_goes_to_the_default_upstream(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    async with (
        serving(redis, tmp_path, transport) as services,
        grpc.aio.insecure_channel(services.proxy.addr) as channel,
    ):
        found = await services.media.GetFileByID(media.GetFileByIDRequest(id=99))
        assert not found.success
        method: Any = channel.unary_unary("/other.Service/Method")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await method(b"")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_policy_with_mistakes_ends_the_start(tmp_path: Path) -> None:
    path = policy_in(tmp_path, product="shop:1", more="  - {exchange: e}\n")
    proxy = ProxyProcess(POLICY=path)
    proxy.child.spawn()
    assert await proxy.exited() == 2
    assert "event: routing_keys is missing" in proxy.stderr
    assert "Traceback" not in proxy.stderr


@TRANSPORTS
async def test_an_event_of_another_service_invalidates_each_tag_that_it_names(
    redis: RedisServer, rabbit: RabbitServer, tmp_path: Path, transport: str
) -> None:
    url = await rabbit.vhost()
    async with serving(redis, tmp_path, transport, url, RABBITMQ_ADDR=url) as services:
        mug, every = product.GetProductByIDRequest(id=1), product.GetAllProductsRequest()
        lamp = product.GetProductByIDRequest(id=2)
        reads = [
            (services.products.GetProductByID, mug),
            (services.products.GetProductByID, lamp),
            (services.products.GetAllProducts, every),
            (services.products.GetProductBySlug, product.GetProductBySlugRequest(slug="mug")),
        ]

        async def all_hits() -> bool:
            return [await x_cache(call(request)) for call, request in reads] == ["hit"] * 4

        await until(all_hits, "all to be cached, the first flush being over")
        await services.straight.UpdateProduct(product.UpdateProductRequest(id=1, name="A better mug"))

        async def seen() -> bool:
            found = await services.products.GetProductByID(mug)
            return bool(found.data.name == "A better mug")

        await until(seen, "the event to be applied")
        assert "A better mug" in str(await services.products.GetAllProducts(every))
        assert (await services.products.GetProductBySlug(reads[3][1])).data.name == "A better mug"
        assert await x_cache(services.products.GetProductByID(lamp)) == "hit"
        assert await services.proxy.metric('media_cache_events_total{kind="updated",outcome="applied"}') == 1
