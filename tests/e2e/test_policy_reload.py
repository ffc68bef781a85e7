"""A policy that changes while the proxy serves, by whole processes and by either transport."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from examples.pb import boutique_pb2 as boutique
from examples.pb import product_pb2 as product
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceStub
from examples.pb.product_pb2_grpc import ProductServiceStub
from examples.product_service.server import running
from examples.product_service.settings import ProductSettings
from tests.e2e.test_services import TRANSPORTS, x_cache
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.services import Catalogue, catalogue_serving, policy_in

SHOP = "hipstershop.ProductCatalogService"
TAKEN = "the policy has changed, and the new one is in effect"


class ConfigMap:
    """A directory as the kubelet keeps it: files lead through one link, which is turned when they change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._version = 0
        self.policy = directory / "policy.yaml"

    def fill(self, product: str, catalogue: str = "") -> None:
        """As `policy_in`."""
        self._version += 1
        version = self._directory / f"..version-{self._version}"
        version.mkdir()
        policy_in(version, product=product, catalogue=catalogue)
        self._turn(version)

    def write(self, text: str) -> None:
        """The policy's text, whatever it is."""
        before = (self._directory / "..data").resolve()
        self._version += 1
        version = self._directory / f"..version-{self._version}"
        version.mkdir()
        for file in before.iterdir():
            (version / file.name).write_bytes(file.read_bytes())
        (version / "policy.yaml").write_text(text)
        self._turn(version)

    def _turn(self, version: Path) -> None:
        link = self._directory / "..data"
        new = self._directory / "..data.new"
        new.symlink_to(version.name)
        new.replace(link)
        for file in version.iterdir():
            if not (self._directory / file.name).is_symlink():
                (self._directory / file.name).symlink_to(f"..data/{file.name}")


@dataclass
class Scene:
    proxy: ProxyProcess
    config: ConfigMap
    shop: str
    catalogue: Catalogue
    catalogue_at: str
    products: Any
    boutique: Any
    straight: Any

    async def told(self) -> set[str]:
        """The services whose health is told."""
        async with grpc.aio.insecure_channel(self.proxy.addr) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return set((await stub.List(health_pb2.HealthListRequest())).statuses)

    async def taken(self, times: int = 1) -> str:
        """The log line of the last change that counts."""
        return (await self.proxy.logged(TAKEN, times))[-1]


@asynccontextmanager
async def serving(redis: RedisServer, directory: Path, transport: str, events: str = "") -> AsyncIterator[Scene]:
    async with (
        FakeMediaServer() as origin,
        running(
            ProductSettings(listen_addr="127.0.0.1:0", latency=0, rabbitmq_addr=(events,) if events else ())
        ) as shop,
        catalogue_serving() as (catalogue, address),
        grpc.aio.insecure_channel(shop.address) as straight,
    ):
        config = ConfigMap(directory)
        config.fill(product=shop.address)
        async with (
            ProxyProcess(
                TRANSPORT=transport,
                MEDIA_SERVICE_ADDR=origin.addr,
                REDIS_ADDR=redis.addr,
                POLICY=str(config.policy),
                RABBITMQ_ADDR=events,
            ) as proxy,
            grpc.aio.insecure_channel(proxy.addr) as channel,
        ):
            if events:
                await shop.events.connected.wait()
            yield Scene(
                proxy,
                config,
                shop.address,
                catalogue,
                address,
                ProductServiceStub(channel),
                ProductCatalogServiceStub(channel),
                ProductServiceStub(straight),
            )


MUG, LAMP = product.GetProductByIDRequest(id=1), product.GetProductByIDRequest(id=2)
OF_BOUTIQUE = boutique.GetProductRequest(id="MUG")


@TRANSPORTS
async def test_a_service_comes_and_goes_with_its_upstream(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as scene:
        assert [await x_cache(scene.products.GetProductByID(MUG)) for _ in range(2)] == ["miss", "hit"]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await scene.boutique.GetProduct(OF_BOUTIQUE)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        scene.config.fill(product=scene.shop, catalogue=scene.catalogue_at)
        line = await scene.taken()
        assert '"services_added": ["hipstershop.ProductCatalogService"]' in line
        assert "from_the_next_start" not in line
        assert await scene.told() == {"", "media.MediaService", "product.ProductService", SHOP}
        assert [await x_cache(scene.boutique.GetProduct(OF_BOUTIQUE)) for _ in range(2)] == ["miss", "hit"]
        assert await x_cache(scene.products.GetProductByID(MUG)) == "hit"
        answered = 'rpc_server_call_duration_seconds_count{rpc_method="hipstershop.ProductCatalogService/GetProduct"'
        assert await scene.proxy.metric(f'{answered},rpc_status_code="OK"}}') == 2
        scene.config.fill(product=scene.shop)
        assert '"services_removed": ["hipstershop.ProductCatalogService"]' in await scene.taken(2)
        assert await scene.told() == {"", "media.MediaService", "product.ProductService"}
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await scene.boutique.GetProduct(OF_BOUTIQUE)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await scene.proxy.metric('media_cache_policy_reloads_total{outcome="taken"}') == 2


@TRANSPORTS
async def test_a_call_in_progress_ends_at_the_service_that_it_began_at(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, tmp_path, transport) as scene:
        scene.config.fill(product=scene.shop, catalogue=scene.catalogue_at)
        await scene.taken()
        scene.catalogue.held = asyncio.Event()
        stored = asyncio.create_task(x_cache(scene.boutique.GetProduct(OF_BOUTIQUE)))
        forwarded = asyncio.ensure_future(
            scene.boutique.SearchProducts(boutique.SearchProductsRequest(query="x" * 101))
        )
        await until(lambda: len(scene.catalogue.calls) == 2, "both to be there")
        scene.config.fill(product=scene.shop)
        await scene.taken(2)
        scene.catalogue.held.set()
        assert await stored == "miss"
        await forwarded


@TRANSPORTS
async def test_what_a_new_write_could_not_remove_is_flushed(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as scene:
        whole = scene.config.policy.read_text()
        before, _, rest = whole.partition("      - method: UpdateProduct\n")
        scene.config.write(before + rest.partition("\n")[2])
        assert '"writes_removed": ["/product.ProductService/UpdateProduct"]' in await scene.taken()
        await until(lambda: _misses(scene), "the flush")
        assert await x_cache(scene.products.GetProductByID(MUG)) == "hit"
        await scene.products.UpdateProduct(product.UpdateProductRequest(id=1, name="A better mug"))
        assert await x_cache(scene.products.GetProductByID(MUG)) == "hit"  # by a policy that says so
        scene.config.write(whole)
        assert '"writes_added": ["/product.ProductService/UpdateProduct"]' in await scene.taken(2)

        async def seen() -> bool:
            return bool((await scene.products.GetProductByID(MUG)).data.name == "A better mug")

        await until(seen, "the flush")
        await scene.products.UpdateProduct(product.UpdateProductRequest(id=1, name="The best mug"))
        assert (await scene.products.GetProductByID(MUG)).data.name == "The best mug"


async def _misses(scene: Scene) -> bool:
    return await x_cache(scene.products.GetProductByID(MUG)) == "miss"


@TRANSPORTS
async def test_a_bad_one_is_refused_and_the_old_one_stays(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as scene:
        whole = scene.config.policy.read_text()
        scene.config.write(whole.replace("tag: \"'product/' + string(request.id)\"", "tag: request.idd"))
        (line,) = await scene.proxy.logged("the policy has changed but cannot be used")
        assert "unknown field 'idd'; did you mean 'id'?" in line
        assert [await x_cache(scene.products.GetProductByID(MUG)) for _ in range(2)] == ["miss", "hit"]
        assert await scene.proxy.metric("media_cache_policy_refused") == 1
        scene.config.write(whole)
        await scene.taken()
        assert await scene.proxy.metric("media_cache_policy_refused") == 0
        assert await x_cache(scene.products.GetProductByID(MUG)) == "hit"
        assert len(await scene.proxy.logged("cannot be used")) == 1


@TRANSPORTS
async def test_new_events_are_bound_and_applied(
    redis: RedisServer, rabbit: RabbitServer, tmp_path: Path, transport: str
) -> None:
    url = await rabbit.vhost()
    async with serving(redis, tmp_path, transport, url) as scene:
        whole = scene.config.policy.read_text()
        scene.config.write(whole.partition("\nevents:")[0] + "\n")
        await scene.taken()
        await until(lambda: _hits(scene), "it to be cached")
        scene.config.write(whole)
        await scene.taken(2)
        await until(lambda: _hits(scene), "it to be cached, the flushes being over")
        await scene.straight.UpdateProduct(product.UpdateProductRequest(id=1, name="A better mug"))

        async def seen() -> bool:
            return bool((await scene.products.GetProductByID(MUG)).data.name == "A better mug")

        await until(seen, "the event to be applied")
        assert await scene.proxy.metric('media_cache_events_total{kind="updated",outcome="applied"}') == 1


async def _hits(scene: Scene) -> bool:
    return await x_cache(scene.products.GetProductByID(MUG)) == "hit"
