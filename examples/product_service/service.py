# ruff: noqa: N802 -- the methods are named as on the wire
"""`ProductService`: the six methods, over products in memory."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from examples.pb import product_pb2 as pb
from examples.pb.product_pb2_grpc import ProductServiceServicer
from examples.product_service.events import Kind

_LARGEST_PAGE = 100
_log = logging.getLogger(__name__)


class Events(Protocol):
    """Announces changes."""

    async def publish(self, kind: Kind, product: pb.Product) -> None: ...


class ProductService(ProductServiceServicer):
    """Failures are answers without `success`. A change is announced before it is answered, by a task that is finished
    even if its caller goes away."""

    def __init__(self, events: Events, *, latency: float = 0.02, clock: Callable[[], float] = time.time) -> None:
        self._events, self._latency, self._clock = events, latency, clock
        self._products: dict[int, pb.Product] = {}
        self._last_id = 0
        self._announcements: set[asyncio.Task[None]] = set()

    def add(self, slug: str, name: str, price_cents: int) -> pb.Product:
        """Stores a product without announcing it; an id is never assigned twice."""
        self._last_id += 1
        made = pb.Product(id=self._last_id, slug=slug, name=name, price_cents=price_cents, updated_at=self._now())
        self._products[made.id] = made
        return made

    async def aclose(self) -> None:
        """Waits for pending announcements."""
        await asyncio.gather(*self._announcements, return_exceptions=True)

    async def GetProductByID(self, request: pb.GetProductByIDRequest, context: object) -> pb.GetProductByIDResponse:
        """One product by its id."""
        found = await self._read("GetProductByID", request, self._products.get(request.id))
        if found is None:
            return pb.GetProductByIDResponse(message=f"no product with id {request.id}")
        return pb.GetProductByIDResponse(success=True, message="found", data=found)

    async def GetProductBySlug(
        self, request: pb.GetProductBySlugRequest, context: object
    ) -> pb.GetProductBySlugResponse:
        """One product by its slug."""
        found = await self._read("GetProductBySlug", request, self._by_slug(request.slug))
        if found is None:
            return pb.GetProductBySlugResponse(message=f"no product {request.slug!r}")
        return pb.GetProductBySlugResponse(success=True, message="found", data=found)

    async def GetAllProducts(self, request: pb.GetAllProductsRequest, context: object) -> pb.GetAllProductsResponse:
        """A page of products, by id."""
        page, per_page = request.page or 1, request.per_page or 20
        if page < 1 or not 1 <= per_page <= _LARGEST_PAGE:
            return pb.GetAllProductsResponse(message=f"page must be positive, per_page 1 to {_LARGEST_PAGE}")
        every = [_copy(self._products[each]) for each in sorted(self._products)]
        await self._read("GetAllProducts", request, None)
        shown = every[(page - 1) * per_page : page * per_page]
        data = pb.GetAllProductsData(products=shown, total=len(every), page=page, per_page=per_page)
        return pb.GetAllProductsResponse(success=True, message="found", data=data)

    async def CreateProduct(self, request: pb.CreateProductRequest, context: object) -> pb.CreateProductResponse:
        """Stores a product under a unique slug."""
        if not request.slug or self._by_slug(request.slug) is not None:
            return pb.CreateProductResponse(message=f"slug {request.slug!r} is empty or another product's")
        made = self.add(request.slug, request.name, request.price_cents)
        await self._announced("created", made)
        return pb.CreateProductResponse(success=True, message="created", data=made)

    async def UpdateProduct(self, request: pb.UpdateProductRequest, context: object) -> pb.UpdateProductResponse:
        """Changes the fields that the request names."""
        found, namesake = self._products.get(request.id), self._by_slug(request.slug)
        if found is None:
            return pb.UpdateProductResponse(message=f"no product with id {request.id}")
        if namesake is not None and namesake.id != request.id:
            return pb.UpdateProductResponse(message=f"slug {request.slug!r} is another product's")
        found.slug = request.slug or found.slug
        found.name = request.name or found.name
        found.price_cents = request.price_cents or found.price_cents
        found.updated_at = self._now()
        await self._announced("updated", found)
        return pb.UpdateProductResponse(success=True, message="updated", data=found)

    async def DeleteProduct(self, request: pb.DeleteProductRequest, context: object) -> pb.DeleteProductResponse:
        """Deletes a product."""
        found = self._products.pop(request.id, None)
        if found is None:
            return pb.DeleteProductResponse(message=f"no product with id {request.id}")
        await self._announced("deleted", found)
        return pb.DeleteProductResponse(success=True, message="deleted")

    async def _read(self, method: str, request: object, found: pb.Product | None) -> pb.Product | None:
        """Returns what was found, after the delay, which is hardest for a cache in front."""
        _log.info("%s %s", method, str(request).replace("\n", " ").strip())
        copied = None if found is None else _copy(found)
        await asyncio.sleep(self._latency)
        return copied

    async def _announced(self, kind: Kind, product: pb.Product) -> None:
        _log.info("product %d %s", product.id, kind)
        task = asyncio.create_task(self._events.publish(kind, _copy(product)), name="announcement")
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)
        await asyncio.shield(task)

    def _by_slug(self, slug: str) -> pb.Product | None:
        return next((each for each in self._products.values() if each.slug == slug), None)

    def _now(self) -> int:
        return int(self._clock())


def _copy(product: pb.Product) -> pb.Product:
    copy = pb.Product()
    copy.CopyFrom(product)
    return copy
