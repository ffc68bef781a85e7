# ruff: noqa: N802 -- the methods are named as on the wire
"""Products in a run: the questions about them, a service that stamps its answers, and the policy that caches them."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio

from examples.pb import product_pb2 as pb
from examples.pb.product_pb2_grpc import ProductServiceServicer, add_ProductServiceServicer_to_server
from tests.consistency.checker import FAILED, Checker
from tests.consistency.origin import Failing
from tests.support import services

PAGE = range(1, 7)
"""The products of the only list that is read."""
SLUG = "slug-"
"""Prefix of a product's slug, followed by its id."""

_CHANGES = (
    ("  - name: media.MediaService\n    builtin: true\n", ""),
    (
        "      - method: UpdateProduct\n",
        """      - method: UpdateProduct
        announced: true
        succeeded: response.success
        log: {write_name: request.name}
""",
    ),
    (
        "    fields: {product_id: int64}\n",
        """    fields: {product_id: int64, name: text?}
    log: {write_name: event.name}
""",
    ),
)
"""Changes to the examples' policy: only products, and log lines that name the write or the event."""

Context = Any


@dataclass(frozen=True, slots=True)
class AskedProduct:
    """One product, read by id, by slug or in a list; `caller` is its `authorization`, empty if it has none."""

    number: int
    by: str = "id"
    caller: str = ""

    @property
    def model(self) -> str:
        return f"product/{self.number}"

    @property
    def how(self) -> str:
        return f"by {self.by}"

    @property
    def method(self) -> str:
        return {"id": "GetProductByID", "slug": "GetProductBySlug", "list": "GetAllProducts"}[self.by]

    @property
    def request(self) -> Any:
        if self.by == "list":
            return pb.GetAllProductsRequest(page=1)
        if self.by == "slug":
            return pb.GetProductBySlugRequest(slug=f"{SLUG}{self.number}")
        return pb.GetProductByIDRequest(id=self.number)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self.caller),) if self.caller else ()

    def told(self, response: Any) -> "tuple[AskedProduct, int]":
        """The question that an answer was made for, and its version."""
        found = list(response.data.products) if self.by == "list" else [response.data]
        product = next((each for each in found if each.id == self.number), found[0])
        return AskedProduct(product.id, self.by, product.name), product.price_cents


class StampedProducts(ProductServiceServicer):
    """The product service on a port; `committed` is called for every commit."""

    def __init__(self, checker: Checker, random: random.Random, committed: Callable[[str, int, str], None]) -> None:
        self._checker, self._random, self._committed = checker, random, committed
        self._fetches = 0
        self.failing: Failing = ""
        self._server = grpc.aio.server()
        self.addr = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        add_ProductServiceServicer_to_server(self, self._server)

    def commit(self, number: int, name: str) -> None:
        """Commits a write, through this service or another one."""
        subject = f"product/{number}"
        self._committed(subject, self._checker.commit(subject), name)

    async def GetProductByID(self, request: pb.GetProductByIDRequest, context: Context) -> pb.GetProductByIDResponse:
        found: pb.GetProductByIDResponse = await self._one(request.id, context, pb.GetProductByIDResponse)
        return found

    async def GetProductBySlug(
        self, request: pb.GetProductBySlugRequest, context: Context
    ) -> pb.GetProductBySlugResponse:
        number = int(request.slug.removeprefix(SLUG))
        found: pb.GetProductBySlugResponse = await self._one(number, context, pb.GetProductBySlugResponse)
        return found

    async def GetAllProducts(self, request: pb.GetAllProductsRequest, context: Context) -> pb.GetAllProductsResponse:
        found = [self._stamped(number, context) for number in PAGE]
        failed = await self._answering(context)
        if failed:
            return pb.GetAllProductsResponse(message=failed)
        return pb.GetAllProductsResponse(success=True, data=pb.GetAllProductsData(products=found))

    async def UpdateProduct(self, request: pb.UpdateProductRequest, context: Context) -> pb.UpdateProductResponse:
        """Commits in the middle of the call; sometimes it fails before that, sometimes after."""
        if self._random.random() < 0.5:
            await self._fail(context)
        await self._pass()
        self.commit(request.id, request.name)
        await self._fail(context)
        await self._pass()
        return pb.UpdateProductResponse(success=True)

    async def CreateProduct(self, request: pb.CreateProductRequest, context: Context) -> pb.CreateProductResponse:
        raise NotImplementedError

    async def DeleteProduct(self, request: pb.DeleteProductRequest, context: Context) -> pb.DeleteProductResponse:
        raise NotImplementedError

    async def _one(self, number: int, context: Context, kind: Any) -> Any:
        found = self._stamped(number, context)
        failed = await self._answering(context)
        return kind(message=failed) if failed else kind(success=True, data=found)

    def _stamped(self, number: int, context: Context) -> pb.Product:
        """A product in its current version. It is answered later, so that a commit can overtake it."""
        caller = "".join(str(value) for key, value in context.invocation_metadata() or () if key == "authorization")
        version = self._checker.version(f"product/{number}")
        return pb.Product(id=number, slug=f"{SLUG}{number}", name=caller, price_cents=version)

    async def _answering(self, context: Context) -> str:
        """Waits a while; returns the message of a failure if the answer should be one."""
        if self.failing != "unsuccessful":
            await self._fail(context)
            await self._pass()
            return ""
        self._fetches += 1
        number = self._fetches
        self._checker.fails(number)
        await self._pass()
        self._checker.failed(number)
        return f"{FAILED}{number}"

    async def _pass(self) -> None:
        await asyncio.sleep(self._random.expovariate(1 / 0.005))

    async def _fail(self, context: Context) -> None:
        if self.failing == "status":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.stop(None)


def policy_in(directory: Path, address: str) -> str:
    """Writes the product policy of the examples, with log lines that name the write or event; returns its path."""
    path = Path(services.policy_in(directory, product=address))
    text = path.read_text()
    for old, new in _CHANGES:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return str(path)
