"""`ProductClient`: the gateway's long-lived channel to the product service, or to the proxy in front of it."""

from types import TracebackType
from typing import Self

import grpc

from examples.gateway.answers import done
from examples.pb import product_pb2 as pb
from examples.pb.product_pb2_grpc import ProductServiceStub

_TIMEOUT = 5.0


class ProductClient:
    """The gateway's calls. Each raises ServiceError for a status other than OK and for `success = false`."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target)
        self._stub = ProductServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def by_id(self, product_id: int) -> pb.Product:
        """One product."""
        request = pb.GetProductByIDRequest(id=product_id)
        return (await done(self._stub.GetProductByID(request, timeout=_TIMEOUT), "product")).data

    async def by_slug(self, slug: str) -> pb.Product:
        """One product."""
        request = pb.GetProductBySlugRequest(slug=slug)
        return (await done(self._stub.GetProductBySlug(request, timeout=_TIMEOUT), "product")).data

    async def page(self, page: int, per_page: int) -> pb.GetAllProductsData:
        """A page of all products."""
        request = pb.GetAllProductsRequest(page=page, per_page=per_page)
        return (await done(self._stub.GetAllProducts(request, timeout=_TIMEOUT), "product")).data

    async def update(self, request: pb.UpdateProductRequest) -> pb.Product:
        """Changes a product, and returns it."""
        return (await done(self._stub.UpdateProduct(request, timeout=_TIMEOUT), "product")).data
