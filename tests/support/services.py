# ruff: noqa: N802 -- the methods are named as on the wire
"""Services that the proxy knows by policy alone: the product service, and a catalogue like Online Boutique's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from examples.pb import boutique_pb2 as boutique
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceServicer, add_ProductCatalogServiceServicer_to_server
from tests.support.servers.process import ROOT

Context = grpc.aio.ServicerContext[Any, Any]
POLICIES = ROOT / "examples" / "policies"


def policy_in(
    directory: Path, *, product: str, catalogue: str = "", more: str = "", change: tuple[str, str] = ("", "")
) -> str:
    """Writes a policy of the media service, the product service and the catalogue at these addresses; returns its path.
    `change` is a text in it and its replacement.
    """
    text = (POLICIES / "product.yaml").read_text().replace("localhost:50055", product)
    if catalogue:
        services = (POLICIES / "boutique.yaml").read_text().partition("services:\n")[2]
        text = text.replace("events:\n", services.replace("productcatalogservice:3550", catalogue) + "events:\n")
    for name in ("product", "boutique"):
        (directory / f"{name}.binpb").write_bytes((POLICIES / f"{name}.binpb").read_bytes())
    path = directory / "policy.yaml"
    path.write_text(text.replace(*change) + more)
    return str(path)


def media_policy_in(directory: Path, more: str) -> str:
    """Writes a policy of the media service alone, whose read has these keys (`ttl: 1m, vary: x`); returns its path."""
    tag = "request.model_type.casefold() + '/' + string(request.model_id)"
    read = f'{{method: GetFilesByModel, tag: "{tag}", {more}}}'
    path = directory / "media.yaml"
    path.write_text(f"version: 1\nservices:\n  - {{name: media.MediaService, builtin: true, reads: [{read}]}}\n")
    return str(path)


class Catalogue(ProductCatalogServiceServicer):
    """Online Boutique's catalogue, with two products. `control` is the cache-control of its answers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.control = ""
        self.mute = False
        """Whether it lacks reflection."""
        self.held: asyncio.Event | None = None
        """Until this is set, nothing is answered."""

    async def ListProducts(self, request: boutique.Empty, context: Context) -> boutique.ListProductsResponse:
        await self._seen("ListProducts", context)
        return boutique.ListProductsResponse(products=[boutique.Product(id="MUG"), boutique.Product(id="LAMP")])

    async def GetProduct(self, request: boutique.GetProductRequest, context: Context) -> boutique.Product:
        await self._seen("GetProduct", context)
        if request.id not in {"MUG", "LAMP"}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no product with ID {request.id}")
        return boutique.Product(id=request.id, name=f"number {len(self.calls)}")

    async def SearchProducts(
        self, request: boutique.SearchProductsRequest, context: Context
    ) -> boutique.SearchProductsResponse:
        await self._seen("SearchProducts", context)
        return boutique.SearchProductsResponse()

    async def _seen(self, method: str, context: Context) -> None:
        self.calls.append(method)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if self.control:
            context.set_trailing_metadata((("cache-control", self.control),))
        if self.held is not None:
            await self.held.wait()


class _Muting(grpc.aio.ServerInterceptor):
    """A catalogue's reflection, which can be off."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        if self._catalogue.mute and details.method.startswith("/grpc.reflection."):
            return None
        return await continuation(details)


@asynccontextmanager
async def catalogue_serving(
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[tuple[Catalogue, str]]:
    """The catalogue and its address; it has reflection. Without credentials it uses plaintext."""
    catalogue = Catalogue()
    server = grpc.aio.server(interceptors=[_Muting(catalogue)])
    add_ProductCatalogServiceServicer_to_server(catalogue, server)
    reflection.enable_server_reflection(["hipstershop.ProductCatalogService"], server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield catalogue, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
