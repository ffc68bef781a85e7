"""The GraphQL types of products, and their conversion from the product service's messages."""

from typing import Self

import strawberry

from examples.gateway.types import Int64, int64
from examples.pb import product_pb2 as pb


@strawberry.type
class Product:
    """A product of the shop."""

    id: strawberry.ID
    slug: str
    name: str
    price_cents: Int64

    @classmethod
    def of(cls, product: pb.Product) -> Self:
        """Converts the message."""
        return cls(
            id=strawberry.ID(str(product.id)),
            slug=product.slug,
            name=product.name,
            price_cents=Int64(product.price_cents),
        )


@strawberry.type
class ProductPage:
    """A page of products; `total` counts all."""

    products: list[Product]
    total: int


@strawberry.input
class UpdateProductInput:
    """The changes of a product; fields that are not given stay the same."""

    id: strawberry.ID
    slug: str = ""
    name: str = ""
    price_cents: Int64 = Int64(0)

    def request(self) -> pb.UpdateProductRequest:
        """Converts it to the message."""
        return pb.UpdateProductRequest(
            id=int64(self.id, "id"), slug=self.slug, name=self.name, price_cents=int(self.price_cents)
        )


@strawberry.type
class UpdateProductResult:
    """Whether the product was changed; `data` is the product."""

    success: bool
    message: str
    data: Product | None = None
