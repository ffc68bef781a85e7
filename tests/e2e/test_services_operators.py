"""What operators and tools see of any policy's services: reflection, health, metrics, the commands."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families

from examples.pb import boutique_pb2 as boutique
from examples.pb import product_pb2 as product
from proxy.pb import media_pb2 as media
from tests.admin.test_commands import ask
from tests.e2e.test_services import TRANSPORTS, serving, x_cache
from tests.support.servers.otlp import Collector
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.traces import CALLER, rpc

SERVICES = {"media.MediaService", "product.ProductService", "hipstershop.ProductCatalogService"}
GET = "product.ProductService/GetProductByID"
MUG = product.GetProductByIDRequest(id=1)


@TRANSPORTS
async def test_reflection_and_health_name_the_services_of_the_policy(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    def described(addr: str) -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(addr) as channel:
            known = ProtoReflectionDescriptorDatabase(channel)
            method = (
                DescriptorPool(known).FindServiceByName("product.ProductService").FindMethodByName("GetProductByID")
            )
            return set(known.get_services()), [field.name for field in method.input_type.fields]

    async with serving(redis, tmp_path, transport) as services:
        names, fields = await asyncio.to_thread(described, services.proxy.addr)
        assert {name for name in names if not name.startswith("grpc.")} == SERVICES
        assert fields == ["id"]
        async with grpc.aio.insecure_channel(services.proxy.addr) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            told = await stub.List(health_pb2.HealthListRequest())
            assert set(told.statuses) == {"", *SERVICES}
            for name in SERVICES:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING


@TRANSPORTS
async def test_methods_have_the_policys_labels_and_never_the_callers(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, tmp_path, transport) as services:
        proxy = services.proxy
        assert [await x_cache(services.products.GetProductByID(MUG)) for _ in range(2)] == ["miss", "hit"]
        await services.media.GetFilesByModel(media.GetFilesByModelRequest(model_type="user", model_id=1))
        await services.boutique.SearchProducts(boutique.SearchProductsRequest())
        async with grpc.aio.insecure_channel(proxy.addr) as channel:
            invented: Any = channel.unary_unary("/product.ProductService/Invented")
            with pytest.raises(grpc.aio.AioRpcError):
                await invented(b"")
        found = await _series(proxy)
        assert found["media_cache_requests_total", GET, "hit"] == 1
        assert found["media_cache_requests_total", GET, "miss"] == 1
        assert found["media_cache_requests_total", "GetFilesByModel", "miss"] == 1
        calls = {GET: 2, "GetFilesByModel": 1, "hipstershop.ProductCatalogService/SearchProducts": 1, "other": 1}

        async def counted() -> bool:  # Envoy's own counts come a little later
            now = await _series(proxy)
            rpc = {method.replace("GetFilesByModel", "media.MediaService/GetFilesByModel") for method in calls}
            shown = {label for name, label, _ in now if name == "rpc_server_call_duration_seconds_count"}
            ended = {method: _total(now, "media_cache_calls_total", method) for method in calls}
            return ended == calls and shown == {*rpc - {"other"}, "_OTHER"}

        await until(counted, "every call is counted by its method")


async def _series(proxy: ProxyProcess) -> dict[tuple[str, str, str], float]:
    """Name, method, and result or status, of those that have moved."""
    return {
        (sample.name, sample.labels.get("method") or sample.labels["rpc_method"], _word(sample.labels)): sample.value
        for family in text_string_to_metric_families((await proxy.probe("/metrics"))[1])
        for sample in family.samples
        if sample.value and {"method", "rpc_method"} & sample.labels.keys()
    }


def _word(labels: dict[str, str]) -> str:
    return labels.get("result") or labels.get("status") or labels.get("rpc_status_code", "")


def _total(found: dict[tuple[str, str, str], float], name: str, method: str) -> float:
    return sum(value for (each, label, _), value in found.items() if (each, label) == (name, method))


@TRANSPORTS
async def test_the_commands_speak_of_tags_and_methods(redis: RedisServer, tmp_path: Path, transport: str) -> None:
    async with serving(redis, tmp_path, transport) as services:
        proxy, request = services.proxy, '{"id": "1"}'
        told = await ask(proxy, "explain", GET, request)
        assert told.out.startswith("miss\n")
        assert [await x_cache(services.products.GetProductByID(MUG)) for _ in range(2)] == ["miss", "hit"]
        for method in (GET, f"/{GET}", "GetProductByID"):
            assert (await ask(proxy, "explain", method, request)).out.startswith("hit\n")
        told = await ask(proxy, "lookup", "product/1")
        assert told.out.startswith("product/1: 1 stored\n")
        assert f'{GET}  {{"id": "1"}}  everybody  fresh' in told.out
        told = await ask(proxy, "invalidate", "product/1")
        assert (told.status, told.out) == (0, "product/1 is invalidated\n")
        assert await x_cache(services.products.GetProductByID(MUG)) == "miss"
        told = await ask(proxy, "stats")
        assert f"  {GET}" in told.out
        assert "product/1" in told.out
        shown = json.loads((await ask(proxy, "stats", "--json")).out)
        assert shown["methods"][GET]["results"]["hit"] == 1
        assert shown["methods"]["GetFilesByModel"]["results"]["hit"] == 0


NOT_UNDERSTOOD = [
    (["explain", "Invented"], "method: 'Invented' is not understood; accepted: a read of the policy: media.MediaS"),
    (
        ["explain", GET, '{"idd": 7}'],
        'request: product.GetProductByIDRequest: Message type "product.GetProductByIDRequest" has no field named',
    ),
    (["explain", GET, "{"], "request: is not valid JSON; accepted: the message in protobuf's JSON"),
    (["lookup", "x" * 600], "is not understood; accepted: a text of at most 512 bytes"),
    (["invalidate", ""], "tag: '' is not understood; accepted: a text of at most 512 bytes"),
]


async def test_what_is_not_understood_is_one_line(redis: RedisServer, tmp_path: Path) -> None:
    async with serving(redis, tmp_path, "grpcio") as services:
        for arguments, said in NOT_UNDERSTOOD:
            told = await ask(services.proxy, *arguments)
            assert (told.status, told.out) == (2, "")
            assert said in told.err
            assert told.err.count("\n") == 1


FAILS_ON_ONE = ("'product/' + string(request.id), 'products'] + (", "'product/' + string(9 / (request.id - 1))] + (")


@TRANSPORTS
async def test_a_write_that_nobody_understands_flushes_its_own_service_alone(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    async with serving(redis, tmp_path, transport, change=FAILS_ON_ONE) as services:
        lamp, files = product.GetProductByIDRequest(id=2), media.GetFilesByModelRequest(model_type="user", model_id=1)
        for _ in range(2):
            await x_cache(services.products.GetProductByID(lamp))
            await x_cache(services.media.GetFilesByModel(files))
        changed = await services.products.UpdateProduct(product.UpdateProductRequest(id=1, name="A better mug"))
        assert changed.success
        await services.proxy.logged("the cache of a service was flushed")
        assert await x_cache(services.products.GetProductByID(lamp)) == "miss"
        assert await x_cache(services.media.GetFilesByModel(files)) == "hit"
        failed = 'media_cache_policy_failures_total{method="product.ProductService/UpdateProduct"}'
        assert await services.proxy.metric(failed) == 1


async def test_lookup_tells_what_depends_on_what(redis: RedisServer, tmp_path: Path) -> None:
    async with serving(redis, tmp_path, "grpcio") as services:
        for _ in range(2):
            await x_cache(services.products.GetProductBySlug(product.GetProductBySlugRequest(slug="mug")))
        told = await ask(services.proxy, "lookup", "slug/mug")
        assert told.out.startswith("slug/mug: 1 stored\n")
        assert "its answers also depend on product/1" in told.out
        told = await ask(services.proxy, "lookup", "product/1")
        assert "an invalidation also removes what is stored under slug/mug" in told.out
        document = json.loads((await ask(services.proxy, "lookup", "product/1", "--json")).out)
        assert [each["tag"] for each in document["dependants"]] == ["slug/mug"]


async def test_a_service_is_flushed_by_hand(redis: RedisServer, tmp_path: Path) -> None:
    async with serving(redis, tmp_path, "grpcio") as services:
        files = media.GetFilesByModelRequest(model_type="user", model_id=1)
        for _ in range(2):
            await x_cache(services.products.GetProductByID(MUG))
            await x_cache(services.media.GetFilesByModel(files))
        told = await ask(services.proxy, "flush", "product.ProductService")
        assert (told.status, told.out) == (0, "everything stored for product.ProductService is flushed\n")
        assert await x_cache(services.products.GetProductByID(MUG)) == "miss"
        assert await x_cache(services.media.GetFilesByModel(files)) == "hit"
        assert "everything of product.ProductService" in (await ask(services.proxy, "stats")).out
        told = await ask(services.proxy, "flush", "shop.Products")
        assert (told.status, told.out) == (2, "")
        assert "service: 'shop.Products' is not understood; accepted: media.MediaService, product.Prod" in told.err


async def test_shadow_mode_says_of_which_tag_a_hit_would_have_differed(redis: RedisServer, tmp_path: Path) -> None:
    async with serving(redis, tmp_path, "grpcio", CACHE_MODE="shadow") as services:
        assert [await x_cache(services.products.GetProductByID(MUG)) for _ in range(2)] == ["bypass", "bypass"]
        changed = await services.straight.UpdateProduct(product.UpdateProductRequest(id=1, name="A better mug"))
        assert changed.success
        assert await x_cache(services.products.GetProductByID(MUG)) == "bypass"
        (line,) = await services.proxy.logged("a hit would have differed from upstream's answer")
        assert json.loads(line)["tag"] == "product/1"
        assert await services.proxy.metric("media_cache_shadow_differences_total") == 1
        explained = (await ask(services.proxy, "explain", GET, '{"id": 1}')).out
        assert (
            "The mode is shadow: product.ProductService answers every call. In mode on the result would be" in explained
        )


@TRANSPORTS
async def test_spans_name_methods_and_what_their_tags_are_of(
    redis: RedisServer, tmp_path: Path, collector: Collector, transport: str
) -> None:
    async with serving(
        redis,
        tmp_path,
        transport,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="20",
    ) as services:
        for _ in range(2):
            await x_cache(services.products.GetProductByID(MUG, metadata=CALLER))
        await services.products.UpdateProduct(product.UpdateProductRequest(id=1, name="Secret mug"), metadata=CALLER)
        miss, hit = await collector.has(GET, "SERVER", times=2)
        [write] = await collector.has("product.ProductService/UpdateProduct", "SERVER")
        place = rpc(GET, services.proxy.addr) | {"media_cache.model_type": "product"}
        assert miss.attributes == place | {"media_cache.result": "miss"}
        assert hit.attributes == place | {"media_cache.result": "hit", "media_cache.tier": "redis"}
        assert write.attributes == place | {"rpc.method": "product.ProductService/UpdateProduct"}
        assert not any("Secret" in str(value) for span in collector.spans for value in span.attributes.values())
