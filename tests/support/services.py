# ruff: noqa: N802 -- the methods are named as on the wire
"""Services that the proxy knows by policy alone: the product service, and a catalogue as Online Boutique has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from examples.pb import boutique_pb2 as boutique
from examples.pb.boutique_pb2_grpc import ProductCatalogServiceServicer, add_ProductCatalogServiceServicer_to_server
from tests.support.servers.process import ROOT

Context = grpc.aio.ServicerContext[Any, Any]
POLICIES = ROOT / "examples" / "policies"


def policy_in(
    directory: Path, *, product: str, catalogue: str = "", more: str = "", change: tuple[str, str] = ("", "")
) -> str:
    """A policy of the media service, the product service and the catalogue at these addresses; the path of its file.
    `change` is a text in it and another in its place.
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


class Catalogue(ProductCatalogServiceServicer):
    """Online Boutique's, with two products. `control` is what it says of storing its answers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.control = ""

    async def ListProducts(self, request: boutique.Empty, context: Context) -> boutique.ListProductsResponse:
        self._seen("ListProducts", context)
        return boutique.ListProductsResponse(products=[boutique.Product(id="MUG"), boutique.Product(id="LAMP")])

    async def GetProduct(self, request: boutique.GetProductRequest, context: Context) -> boutique.Product:
        self._seen("GetProduct", context)
        if request.id not in {"MUG", "LAMP"}:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no product with ID {request.id}")
        return boutique.Product(id=request.id, name=f"number {len(self.calls)}")

    async def SearchProducts(
        self, request: boutique.SearchProductsRequest, context: Context
    ) -> boutique.SearchProductsResponse:
        self._seen("SearchProducts", context)
        return boutique.SearchProductsResponse()

    def _seen(self, method: str, context: Context) -> None:
        self.calls.append(method)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if self.control:
            context.set_trailing_metadata((("cache-control", self.control),))


@asynccontextmanager
async def catalogue_serving() -> AsyncIterator[tuple[Catalogue, str]]:
    """The catalogue, and where it is."""
    catalogue, server = Catalogue(), grpc.aio.server()
    add_ProductCatalogServiceServicer_to_server(catalogue, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield catalogue, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
