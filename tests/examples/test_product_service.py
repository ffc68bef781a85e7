"""The reference product service: what it answers, its events, its command, and the gateway in front of it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import aiohttp
import grpc
import pytest

from examples.gateway import server as gateway
from examples.gateway.settings import GatewaySettings
from examples.pb import product_pb2 as pb
from examples.pb.product_pb2_grpc import ProductServiceStub
from examples.product_service.__main__ import main
from examples.product_service.server import running
from examples.product_service.settings import ProductSettings
from proxy.policy.reflection import ask
from tests.support.servers.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from examples.pb.product_pb2_grpc import ProductServiceAsyncStub

ANY_PORT = "127.0.0.1:0"


@asynccontextmanager
async def serving(*urls: str) -> AsyncIterator[tuple[ProductServiceAsyncStub, str]]:
    settings = ProductSettings(listen_addr=ANY_PORT, rabbitmq_addr=urls, latency=0)
    async with running(settings) as service, grpc.aio.insecure_channel(service.address) as channel:
        if urls:
            await service.events.connected.wait()
        yield ProductServiceStub(channel), service.address


async def test_products_are_created_read_changed_and_deleted() -> None:
    async with serving() as (stub, _):
        made = await stub.CreateProduct(pb.CreateProductRequest(slug="cup", name="A cup", price_cents=700))
        assert (made.success, made.data.id, made.data.slug) == (True, 4, "cup")
        changed = await stub.UpdateProduct(pb.UpdateProductRequest(id=4, price_cents=800))
        assert (changed.data.name, changed.data.price_cents) == ("A cup", 800)
        by_id = await stub.GetProductByID(pb.GetProductByIDRequest(id=4))
        by_slug = await stub.GetProductBySlug(pb.GetProductBySlugRequest(slug="cup"))
        assert by_id.data == by_slug.data == changed.data
        every = await stub.GetAllProducts(pb.GetAllProductsRequest(page=2, per_page=3))
        assert ([each.id for each in every.data.products], every.data.total) == ([4], 4)
        assert (await stub.DeleteProduct(pb.DeleteProductRequest(id=4))).success
        assert not (await stub.GetProductByID(pb.GetProductByIDRequest(id=4))).success


async def test_failures_are_answers_without_success() -> None:
    async with serving() as (stub, _):
        answers: list[Any] = [
            await stub.GetProductBySlug(pb.GetProductBySlugRequest(slug="none")),
            await stub.CreateProduct(pb.CreateProductRequest(slug="mug")),
            await stub.UpdateProduct(pb.UpdateProductRequest(id=1, slug="lamp")),
            await stub.UpdateProduct(pb.UpdateProductRequest(id=99)),
            await stub.DeleteProduct(pb.DeleteProductRequest(id=99)),
            await stub.GetAllProducts(pb.GetAllProductsRequest(per_page=101)),
        ]
    assert [answer.success for answer in answers] == [False] * 6
    assert all(answer.message for answer in answers)


async def test_a_change_is_published_before_it_is_answered(rabbit: RabbitServer) -> None:
    url = await rabbit.vhost()
    async with serving(url) as (stub, _), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("damar.exchange", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "product.event.#")
        await stub.UpdateProduct(pb.UpdateProductRequest(id=1, name="A better mug"))
        message = await queue.get(timeout=10, no_ack=True)

    assert message.routing_key == "product.event.updated"
    assert json.loads(base64.b64decode(json.loads(message.body)["data"])) == {"product_id": 1, "slug": "mug"}


async def test_it_tells_its_descriptors_by_reflection() -> None:
    async with serving() as (_, address):

        def asked() -> list[str]:
            with grpc.insecure_channel(address) as channel:
                return list(ask(channel).services())

        assert await asyncio.to_thread(asked) == ["product.ProductService"]


async def test_the_gateway_asks_it() -> None:
    async with (
        serving() as (_, address),
        gateway.running(GatewaySettings(product_service_addr=address, gateway_addr=ANY_PORT)) as bound,
        aiohttp.ClientSession() as session,
    ):

        async def asked(query: str) -> dict[str, object]:
            async with session.post(f"http://{bound}/query", json={"query": query}) as response:
                answer: dict[str, object] = await response.json()
                return answer

        change = 'mutation { updateProduct(input: {id: "1", priceCents: 5}) { success data { priceCents } } }'
        assert (await asked(change))["data"] == {"updateProduct": {"success": True, "data": {"priceCents": 5}}}
        query = '{ product(id: "1") { slug priceCents } productBySlug(slug: "lamp") { id } products { total } }'
        assert (await asked(query))["data"] == {
            "product": {"slug": "mug", "priceCents": 5},
            "productBySlug": {"id": "2"},
            "products": {"total": 3},
        }
        assert "no product with id 99" in str(await asked('{ product(id: "99") { slug } }'))


def test_a_setting_that_is_not_understood_ends_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LATENCY", "soon")
    assert main() == 2
    assert capsys.readouterr().err.startswith(
        "product service: LATENCY: 'soon' is not understood; accepted: a duration"
    )
