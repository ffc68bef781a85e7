"""A policy whose tags change under load: what is invalidated by the new meaning is never served by the old one."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from examples.pb import product_pb2 as pb
from examples.pb.product_pb2_grpc import ProductServiceStub
from tests.e2e.test_services import TRANSPORTS
from tests.support.products import Products
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.services import policy_in

TAKEN = "the policy has changed, and the new one is in effect"
_TAGS = ("product", "item", "thing")
_READERS = 8
_MUG = pb.GetProductBySlugRequest(slug="mug")
_BY_ID = pb.GetProductByIDRequest(id=7)


class Load:
    """Readers and a writer on one product, whose price is its version: each read is at least as new as the last write
    that was answered before it began.
    """

    def __init__(self, channel: grpc.aio.Channel, products: Products) -> None:
        self._stub: Any = ProductServiceStub(channel)
        self._products = products
        self._written = 1
        self.stale: list[str] = []
        self.reads = self.writes = 0

    async def read(self) -> None:
        while True:
            for method, request in ((self._stub.GetProductByID, _BY_ID), (self._stub.GetProductBySlug, _MUG)):
                least = self._written
                seen = (await method(request)).data.price_cents
                self.reads += 1
                if seen < least:
                    self.stale.append(f"{seen} after {least}")

    async def write(self) -> None:
        while True:
            await self._stub.UpdateProduct(pb.UpdateProductRequest(id=7, name="new"))
            self._written = self._products.versions[7]
            self.writes += 1
            await asyncio.sleep(0.05)


def _policy(directory: Path, products: Products) -> tuple[Path, str]:
    path = Path(policy_in(directory, product=products.addr))
    return path, path.read_text()


def tagged(policy: str, tag: str) -> str:
    """The same policy, whose products' tags are called so, in its reads, further tags, writes and events."""
    return policy.replace("'product/'", f"'{tag}/'")


@TRANSPORTS
async def test_no_read_is_older_than_a_write_before_it_while_tags_change(
    redis: RedisServer, tmp_path: Path, transport: str
) -> None:
    """One proxy, through which all writes go. Each change of the policy comes while they do."""
    async with Products({"mug": 7}) as products, AsyncExitStack() as stack:
        path, text = _policy(tmp_path, products)
        settings = {"MEDIA_SERVICE_ADDR": products.addr, "REDIS_ADDR": redis.addr, "RABBITMQ_ADDR": ""}
        proxy = ProxyProcess(TRANSPORT=transport, POLICY=str(path), CALL_TIMEOUT="2s", **settings)
        await stack.enter_async_context(proxy)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(proxy.addr))
        load = Load(channel, products)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in (*(load.read() for _ in range(_READERS)), load.write())]
            for number, tag in enumerate((*_TAGS[1:], _TAGS[0]), 1):
                await asyncio.to_thread(path.write_text, tagged(text, tag))
                await proxy.logged(TAKEN, number)
            for each in running:
                each.cancel()
        assert load.stale == []
        assert load.writes > 3
        assert load.reads > load.writes
        assert (
            await proxy.metric('media_cache_requests_total{method="product.ProductService/GetProductByID",result="hit"')
            > 0
        )
