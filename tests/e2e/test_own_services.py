"""Services of somebody's own by policy alone, over either transport, with RabbitMQ: all that protos have, in keys,
further tags, writes and events.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import grpc
import grpc.aio
import pytest

from tests.e2e.test_services import TRANSPORTS
from tests.support.own_services import ORDERS, STOCK, Shop
from tests.support.servers.process import ProxyProcess
from tests.support.servers.rabbitmq import RabbitServer
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

REF = {"key": {"tenant": "ümläut/1 *?[a]", "number": "9007199254740993"}}


class Scene:
    def __init__(self, shop: Shop, channel: grpc.aio.Channel, proxy: ProxyProcess, exchanges: Any) -> None:
        self.shop, self.channel, self.proxy = shop, channel, proxy
        self._exchanges = exchanges

    def method(self, path: str) -> Any:
        return self.shop.method(self.channel, path)

    async def ways(self, path: str, times: int = 2, **request: Any) -> list[str]:
        return [(await self.method(path)(**request))[1] for _ in range(times)]

    async def publish(self, exchange: str, key: str, body: bytes) -> None:
        await self._exchanges[exchange].publish(aio_pika.Message(body), key)

    async def event(self, exchange: str, **fields: Any) -> None:
        body = self.shop.message("acme.orders.v1.OrderEvent", **fields).SerializeToString()
        await self.publish(exchange, "order.changed", body)

    async def stored(self, path: str, **request: Any) -> None:
        """Returns once an answer is stored, which for some moments after an invalidation none is."""

        async def hit() -> bool:
            return await self.ways(path, 1, **request) == ["hit"]

        await until(hit, f"{path} to be stored")

    async def missed(self, path: str, **request: Any) -> None:
        """Returns once what was stored is gone."""

        async def gone() -> bool:
            return await self.ways(path, 1, **request) == ["miss"]

        await until(gone, f"{path} to be asked anew")


@asynccontextmanager
async def scene_of(redis: RedisServer, rabbit: RabbitServer, directory: Path, transport: str) -> AsyncIterator[Scene]:
    shop, broker = Shop(directory), await rabbit.vhost()
    async with shop.serving() as address, await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        names = ("acme.events", "acme.archive", "acme.stock")
        exchanges = {
            name: await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True) for name in names
        }
        settings = {"MEDIA_SERVICE_ADDR": address, "POLICY": str(shop.policy), "RABBITMQ_ADDR": broker}
        async with (
            ProxyProcess(TRANSPORT=transport, REDIS_ADDR=redis.addr, CACHE_EVENT_WINDOW="50ms", **settings) as proxy,
            grpc.aio.insecure_channel(proxy.addr) as calling,
        ):

            async def consuming() -> bool:
                return await proxy.metric('media_cache_dependency_up{dependency="rabbitmq"}') == 1

            await until(consuming, "events to arrive")
            yield Scene(shop, calling, proxy, exchanges)


@TRANSPORTS
async def test_all_that_protos_have(redis: RedisServer, rabbit: RabbitServer, tmp_path: Path, transport: str) -> None:
    async with scene_of(redis, rabbit, tmp_path, transport) as scene:
        get, listed, answers = f"{ORDERS}/GetOrder", f"{ORDERS}/ListOrders", scene.shop.answers
        order = {"ref": REF, "status": "SHIPPED", "lines": [{"sku": "a/b"}, {"sku": ""}], "user_id": "7"}
        of_user: dict[str, Any] = {"user_id": "7", "filters": {"a": "b"}, "page_size": 3}
        answers.update(GetOrder=order, ListOrders={"orders": [order]}, Count=3, CancelOrders={}, PlaceOrder=order)

        # Ids within messages, with a slash, beyond ASCII, beyond 2^53; a further tag of each line and of a oneof.
        assert await scene.ways(get, ref=REF) == ["miss", "hit"]
        assert await scene.ways(get, ref=REF, mask="ref,status") == ["bypass", "bypass"]
        assert await scene.ways(get, ref=REF, as_of="2026-01-01T00:00:00Z") == ["bypass", "bypass"]
        assert await scene.ways(listed, **of_user) == ["miss", "hit"]
        assert await scene.ways(listed, guest_email="x@y", status=["OPEN"]) == ["miss", "hit"]
        assert await scene.ways(f"{ORDERS}/Count") == ["miss", "hit"]  # a wrapper

        # A write that names several tags; what depends on the order goes with it.
        await scene.method(f"{ORDERS}/CancelOrders")(refs=[REF, {}])
        for path, request in ((get, {"ref": REF}), (listed, of_user), (f"{ORDERS}/Count", {})):
            assert await scene.ways(path, 1, **request) == ["miss"]
            await scene.stored(path, **request)

        # An event of a protobuf message, by two exchanges of which one says less; and one in JSON that names a line.
        for exchange in ("acme.events", "acme.archive"):
            await scene.event(exchange, cancelled=REF)
            await scene.missed(get, ref=REF)
            await scene.stored(get, ref=REF)
        await scene.publish("acme.stock", "stock.changed", json.dumps({"sku": "a/b"}).encode())
        await scene.missed(get, ref=REF)

        # An answer that is not to be stored, and one that is an error.
        answers["ListOrders"] = {"orders": [{**order, "status": "OPEN"}]}
        assert await scene.ways(listed, user_id="8") == ["miss", "miss"]
        scene.shop.status["GetOrder"] = grpc.StatusCode.NOT_FOUND
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError, match="as told"):
                await scene.method(get)(ref={"key": {"number": "5"}})
        before = scene.shop.calls["GetOrder"]
        with pytest.raises(grpc.aio.AioRpcError, match="as told"):
            await scene.method(get)(ref={"key": {"number": "5"}})
        assert scene.shop.calls["GetOrder"] == before

        # The stream beside passes through.
        answers["Watch"] = {"placed": order}
        watch: Any = scene.channel.unary_stream(f"/{ORDERS}/Watch")
        assert [len(each) > 10 async for each in watch(b"")] == [True, True]


@TRANSPORTS
async def test_answers_that_are_each_others_further_tags(
    redis: RedisServer, rabbit: RabbitServer, tmp_path: Path, transport: str
) -> None:
    """One level deep: what depends on a tag goes with it, and so on only where it is named again."""
    async with scene_of(redis, rabbit, tmp_path, transport) as scene:
        get = f"{STOCK}/Get"
        rings = {"a": ["b", "a"], "b": ["c"], "c": ["a"]}

        async def fill() -> None:
            for sku, siblings in rings.items():
                scene.shop.answers["Get"] = {"sku": sku, "siblings": siblings}
                await scene.stored(get, sku=sku)

        await fill()
        await scene.method(f"{STOCK}/Set")(sku="a")
        assert [(await scene.ways(get, 1, sku=sku))[0] for sku in "abc"] == ["miss", "hit", "miss"]
        await fill()
        await scene.publish("acme.stock", "stock.changed", json.dumps({"sku": "c", "at": "5"}).encode())
        await scene.missed(get, sku="b")
        assert (await scene.ways(get, 1, sku="a")) == ["hit"]


@TRANSPORTS
async def test_an_expression_that_fails_on_some_messages(
    redis: RedisServer, rabbit: RabbitServer, tmp_path: Path, transport: str
) -> None:
    async with scene_of(redis, rabbit, tmp_path, transport) as scene:
        batch = f"{STOCK}/BatchGet"
        scene.shop.answers["BatchGet"] = {"items": [{"sku": "a"}]}
        assert await scene.ways(batch) == ["bypass", "bypass"]
        assert await scene.ways(batch, skus=["a"]) == ["miss", "hit"]
        scene.shop.answers["BatchGet"] = {"items": [{"sku": str(each)} for each in range(65)]}
        assert await scene.ways(batch, skus=["many"]) == ["miss", "miss"]
        assert await scene.ways(f"{STOCK}/Get", sku="x" * 600) == ["bypass", "bypass"]
        scene.shop.status["Set"] = grpc.StatusCode.ABORTED
        with pytest.raises(grpc.aio.AioRpcError):
            await scene.method(f"{STOCK}/Set")(sku="x" * 600)
