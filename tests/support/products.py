# ruff: noqa: N802 -- the methods are named as on the wire
"""`Products`: a product service whose answers contain versions and can be held by a test; and calls to it."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio

from examples.pb import product_pb2 as pb
from examples.pb.product_pb2_grpc import ProductServiceServicer, add_ProductServiceServicer_to_server
from proxy.calls.call import Call, Reply
from tests.support.in_process import Process
from tests.support.servers.waiting import until

SERVICE = "/product.ProductService/"


class Products(ProductServiceServicer):
    """`slugs` maps slugs to ids. A product's price is its version; `change` makes a new one. Use it as a context."""

    def __init__(self, slugs: dict[str, int]) -> None:
        self.slugs = slugs
        self.versions: Counter[int] = Counter(set(slugs.values()))
        self.calls: Counter[str] = Counter()
        self.gated = False
        self.held: list[asyncio.Future[None]] = []
        self._server = grpc.aio.server()
        self.addr = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        add_ProductServiceServicer_to_server(self, self._server)

    def change(self, product: int) -> int:
        """Commits a change; returns the new version."""
        self.versions[product] += 1
        return self.versions[product]

    def open(self) -> None:
        """Lets all held calls go on, and all later ones pass."""
        self.gated = False
        for gate in self.held:
            gate.set_result(None)
        self.held.clear()

    async def reached(self, count: int = 1) -> None:
        """Returns once this many calls are held."""
        await until(lambda: len(self.held) == count, f"{count} to be held")

    async def GetProductByID(self, request: pb.GetProductByIDRequest, context: Any) -> pb.GetProductByIDResponse:
        return pb.GetProductByIDResponse(success=True, data=await self._read("GetProductByID", request.id))

    async def GetProductBySlug(self, request: pb.GetProductBySlugRequest, context: Any) -> pb.GetProductBySlugResponse:
        found = self.slugs.get(request.slug)
        if found is None:
            self.calls["GetProductBySlug"] += 1
            await self._pass()
            return pb.GetProductBySlugResponse(message="no such product")
        return pb.GetProductBySlugResponse(success=True, data=await self._read("GetProductBySlug", found))

    async def GetAllProducts(self, request: pb.GetAllProductsRequest, context: Any) -> pb.GetAllProductsResponse:
        self.calls["GetAllProducts"] += 1
        found = [self._product(each) for each in self.slugs.values()]
        await self._pass()
        return pb.GetAllProductsResponse(success=True, data=pb.GetAllProductsData(products=found))

    async def CreateProduct(self, request: pb.CreateProductRequest, context: Any) -> pb.CreateProductResponse:
        return pb.CreateProductResponse(message="the tests make their own")

    async def DeleteProduct(self, request: pb.DeleteProductRequest, context: Any) -> pb.DeleteProductResponse:
        return pb.DeleteProductResponse(message="the tests delete none")

    async def UpdateProduct(self, request: pb.UpdateProductRequest, context: Any) -> pb.UpdateProductResponse:
        await self._pass()
        self.change(request.id)
        await self._pass()
        return pb.UpdateProductResponse(success=True)

    async def _read(self, method: str, product: int) -> pb.Product:
        self.calls[method] += 1
        found = self._product(product)
        await self._pass()
        return found

    def _product(self, product: int) -> pb.Product:
        return pb.Product(id=product, price_cents=self.versions[product])

    async def _pass(self) -> None:
        if self.gated:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.held.append(gate)
            await gate

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.open()
        await self._server.stop(None)


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of one read of a product for its caller."""

    x_cache: str
    version: int


async def by_slug(process: Process, slug: str) -> Seen:
    """One read."""
    body = pb.GetProductBySlugRequest(slug=slug).SerializeToString()
    reply = await process.core.methods.read(Call(f"{SERVICE}GetProductBySlug", body))
    return Seen(_x_cache(reply), pb.GetProductBySlugResponse.FromString(reply.body or b"").data.price_cents)


async def listed(process: Process, page: int = 1) -> str:
    """A page of the list; where it came from."""
    body = pb.GetAllProductsRequest(page=page).SerializeToString()
    return _x_cache(await process.core.methods.read(Call(f"{SERVICE}GetAllProducts", body)))


async def update(process: Process, product: int, slug: str = "") -> Reply:
    """A write through this process."""
    body = pb.UpdateProductRequest(id=product, slug=slug).SerializeToString()
    return await process.core.methods.write(Call(f"{SERVICE}UpdateProduct", body))


async def event(process: Process, *tags: str) -> None:
    """As the consumer calls it when an event came."""
    for tag in tags:
        await process.core.invalidations.invalidate(tag, source="event")


def _x_cache(reply: Reply) -> str:
    return str(dict(reply.trailing_metadata)["x-cache"])
