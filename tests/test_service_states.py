"""Each service of a policy is told of by itself: one that is lost or fails shows, however well the others do."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import grpc
import grpc.aio
import pytest

from examples.pb import boutique_pb2 as boutique
from examples.pb import product_pb2 as product
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceStub
from examples.pb.product_pb2_grpc import ProductServiceStub
from proxy.pb import media_pb2 as media
from proxy.pb.media_pb2_grpc import MediaServiceStub
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until
from tests.support.services import catalogue_serving, policy_in

GET = "product.ProductService/GetProductByID"
MUG = product.GetProductByIDRequest(id=1)


def asked(proxy: ProxyProcess, path: str) -> Any:
    with urlopen(f"http://127.0.0.1:{proxy.admin_port}{path}", timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_one_that_cannot_be_reached_is_told_beside_one_that_can(
    redis: RedisServer, upstream: FakeMediaServer, tmp_path: Path, transport: str
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    async with catalogue_serving() as (_, catalogue):
        policy = policy_in(tmp_path, product=nowhere, catalogue=catalogue)
        settings = {"MEDIA_SERVICE_ADDR": upstream.addr, "REDIS_ADDR": redis.addr, "POLICY": policy}
        async with ProxyProcess(TRANSPORT=transport, **settings) as proxy, grpc.aio.insecure_channel(proxy.addr) as way:
            await MediaServiceStub(way).GetFilesByModel(media.GetFilesByModelRequest(model_type="user", model_id=1))
            before = asked(proxy, "/stats")
            assert [each["up"] for each in before["services"]] == [None, None]
            assert before["verdict"]["reasons"] == []
            await ProductCatalogServiceStub(way).GetProduct(boutique.GetProductRequest(id="MUG"))
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await ProductServiceStub(way).GetProductByID(MUG)
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            await until(lambda: asked(proxy, "/stats")["verdict"]["state"] == "wrong", "it to be told")
            told = asked(proxy, "/stats")
            states = {each["name"]: (each["target"], each["up"], each["reason"]) for each in told["services"]}
            assert states == {
                "hipstershop.ProductCatalogService": (catalogue, True, ""),
                "product.ProductService": (nowhere, False, "not connected"),
            }
            assert told["dependencies"]["upstream"]["up"]
            assert told["verdict"]["reasons"] == [
                f"product.ProductService at {nowhere} cannot be reached: only stored answers are served."
            ]
            explained = asked(proxy, "/explain?" + urlencode({"method": GET, "request": json.dumps({"id": 1})}))
            assert explained["why"][-1].startswith("product.ProductService is away (not connected)")


async def test_one_that_answers_with_failures_does_not_hide_behind_one_that_does_not(
    redis: RedisServer, upstream: FakeMediaServer, tmp_path: Path
) -> None:
    async with catalogue_serving() as (shop, catalogue):
        policy = policy_in(tmp_path, product=f"127.0.0.1:{free_port()}", catalogue=catalogue)
        settings = {"MEDIA_SERVICE_ADDR": upstream.addr, "REDIS_ADDR": redis.addr, "POLICY": policy}
        async with ProxyProcess(**settings) as proxy, grpc.aio.insecure_channel(proxy.addr) as way:
            shop.control = "\n"  # no legal metadata: the server ends the call with UNKNOWN
            for number in range(6):
                request = media.GetFilesByModelRequest(model_type="user", model_id=number)
                await MediaServiceStub(way).GetFilesByModel(request)
                with pytest.raises(grpc.aio.AioRpcError):
                    await ProductCatalogServiceStub(way).GetProduct(boutique.GetProductRequest(id="MUG"))
            await proxy.logged("hipstershop.ProductCatalogService answers with failures")
            told = asked(proxy, "/stats")
            assert (
                f"hipstershop.ProductCatalogService at {catalogue} answers with failures." in told["verdict"]["reasons"]
            )
            assert told["dependencies"]["upstream"]["reason"] == ""
            assert await proxy.metric('media_cache_upstream_failing{service="media.MediaService"}') == 0
            assert await proxy.metric('media_cache_upstream_failing{service="hipstershop.ProductCatalogService"}') == 1
