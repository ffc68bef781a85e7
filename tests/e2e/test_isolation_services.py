"""What one service's upstream or callers do costs the other services of a policy nothing; each transport."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc import StatusCode

from examples.pb import boutique_pb2 as boutique
from examples.pb import product_pb2 as product
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceStub
from tests.abuse.attack import INITIAL_WINDOW, Attacker, attacker, fields
from tests.support.raw_http2 import END_STREAM, headers, message
from tests.support.raw_upstream import BIG, Context, RawUpstream, Seen, status_of, unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until
from tests.support.services import catalogue_serving, policy_in

READ, WRITE, FORWARDED, STREAM = (
    f"/product.ProductService/{name}" for name in ("GetProductByID", "UpdateProduct", "Unnamed", "Watch")
)
MEDIA = ("/media.MediaService/GetFileURL", "/any.Service/Echo")
MOST = 100
CONNECTIONS, CALLS = 4, 60
"""Of the flood: more calls than there are places, on fewer connections than it takes to use up the reserve."""

pytestmark = pytest.mark.usefixtures("each_transport")


@dataclass
class Services:
    """A proxy of three services; `shop` is the one that is abused."""

    shop: RawUpstream
    proxy: ProxyProcess
    channel: grpc.aio.Channel
    catalogue: Any

    async def others_serve(self) -> None:
        """Calls that are forwarded, of each of the others, and a hit. (A busy machine's Redis may be late for one.)"""
        await self.catalogue.SearchProducts(boutique.SearchProductsRequest(query="mug"), timeout=10)
        await self.catalogue.ListProducts(boutique.Empty(), timeout=10, metadata=(("cache-control", "no-store"),))
        for method in MEDIA:
            assert await status_of(unary(self.channel, method, b"asked", timeout=10)) == (StatusCode.OK, ""), method

        async def hit() -> bool:
            call = self.catalogue.GetProduct(boutique.GetProductRequest(id="MUG"), timeout=10)
            await call
            return bool(dict(await call.trailing_metadata())["x-cache"] == "hit")

        await until(hit, "a hit")


@asynccontextmanager
async def services(redis: RedisServer, directory: Path) -> AsyncIterator[Services]:
    async with RawUpstream() as media, RawUpstream() as shop, catalogue_serving() as (_, address):
        settings = {
            "MEDIA_SERVICE_ADDR": media.address,
            "REDIS_ADDR": redis.addr,
            "POLICY": policy_in(directory, product=shop.address, catalogue=address),
            "MAX_CONCURRENT_CALLS": str(MOST),
        }
        async with ProxyProcess(**settings) as proxy, grpc.aio.insecure_channel(proxy.addr, options=BIG) as channel:
            catalogue = ProductCatalogServiceStub(channel)
            await catalogue.GetProduct(boutique.GetProductRequest(id="MUG"))
            yield Services(shop, proxy, channel, catalogue)


async def hang(_seen: Seen, _context: Context) -> None:
    await asyncio.Event().wait()


async def hang_after_headers(_seen: Seen, context: Context) -> None:
    await context.send_initial_metadata(())
    await asyncio.Event().wait()


async def pour(_seen: Seen, context: Context) -> None:
    while True:
        await context.write(bytes(64 << 10))


@asynccontextmanager
async def flooded(proxy: ProxyProcess, method: str, *, end: int = END_STREAM) -> AsyncIterator[list[Attacker]]:
    """Calls of the method that nobody reads, each for a product of its own."""
    async with AsyncExitStack() as stack:
        attackers = []
        for number in range(CONNECTIONS):
            one = await stack.enter_async_context(attacker(proxy.listen_port, (INITIAL_WINDOW, 0)))
            for stream in range(1, 2 * CALLS, 2):
                body = product.GetProductByIDRequest(id=1 + number * CALLS + stream // 2).SerializeToString()
                await one.send(headers(stream, fields(method)) + message(stream, body, end))
            attackers.append(one)
        yield attackers


@pytest.mark.parametrize(
    ("method", "behaviour"), [(READ, hang), (WRITE, hang), (FORWARDED, hang_after_headers), (STREAM, pour)]
)
async def test_a_service_that_hangs_and_callers_that_flood_it(
    redis: RedisServer, tmp_path: Path, method: str, behaviour: Any
) -> None:
    """And go away again: on grpcio that once ended the process, with calls in the reserve."""
    async with services(redis, tmp_path) as found:
        found.shop.behaviours[method] = behaviour
        async with flooded(found.proxy, method):
            await until(lambda: found.shop.count(method) >= CALLS, "the flood to be upstream")
            for _ in range(3):
                await found.others_serve()
        await found.others_serve()


@pytest.mark.parametrize("method", [WRITE, STREAM])
async def test_uploads_to_a_service_that_stall(redis: RedisServer, tmp_path: Path, method: str) -> None:
    """Begun, and never ended."""
    async with services(redis, tmp_path) as found, flooded(found.proxy, method, end=0):
        for _ in range(3):
            await found.others_serve()


async def test_a_service_that_is_gone_and_comes_back(redis: RedisServer, tmp_path: Path) -> None:
    async with services(redis, tmp_path) as found:
        await found.shop.stop()
        async with flooded(found.proxy, FORWARDED):
            await found.others_serve()
        await found.shop.start()

        async def back() -> bool:
            return await status_of(unary(found.channel, FORWARDED, b"asked", timeout=10)) == (StatusCode.OK, "")

        await until(back, "it to be reached again")
