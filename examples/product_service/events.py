"""`ProductEvents`: announces on RabbitMQ that a product was created, updated or deleted."""

from typing import Literal

from examples.pb.product_pb2 import Product
from examples.publisher import Publisher, enveloped

EXCHANGE = "damar.exchange"
Kind = Literal["created", "updated", "deleted"]


class ProductEvents(Publisher):
    """Publishes the product service's events."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        super().__init__(urls, EXCHANGE)

    async def publish(self, kind: Kind, product: Product) -> None:
        """Publishes one event; see `send`."""
        body = enveloped(product.id, {"product_id": product.id, "slug": product.slug})
        await self.send(f"product.event.{kind}", body, f"product {product.id}")
