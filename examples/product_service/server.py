"""`running`: starts and stops the product service and everything that it needs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from examples.pb.product_pb2 import DESCRIPTOR
from examples.pb.product_pb2_grpc import add_ProductServiceServicer_to_server
from examples.product_service.events import ProductEvents
from examples.product_service.service import ProductService
from examples.product_service.settings import ProductSettings

SEED = (("mug", "A mug", 1250), ("lamp", "A lamp", 8900), ("chair", "A chair", 24900))


@dataclass(frozen=True, slots=True)
class Running:
    """A running product service."""

    address: str
    """`host:port`, with the real port where 0 was asked for."""
    events: ProductEvents


@asynccontextmanager
async def running(settings: ProductSettings) -> AsyncIterator[Running]:
    """Serves while the context lasts, with reflection; RuntimeError if the address cannot be bound."""
    async with AsyncExitStack() as stack:
        events = ProductEvents(settings.rabbitmq_addr)
        task = asyncio.create_task(events.run(), name="event publisher")
        stack.push_async_callback(_ended, events, task)
        service = ProductService(events, latency=settings.latency)
        for product in SEED:
            service.add(*product)
        stack.push_async_callback(service.aclose)
        # Otherwise a second service could start on the same port, and take half of the calls.
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_ProductServiceServicer_to_server(service, server)
        names = [DESCRIPTOR.services_by_name["ProductService"].full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
        port = server.add_insecure_port(settings.listen_addr)
        await server.start()
        stack.push_async_callback(server.stop, 1)
        yield Running(f"{settings.listen_addr.rpartition(':')[0]}:{port}", events)


async def _ended(events: ProductEvents, task: asyncio.Task[None]) -> None:
    await events.stop()
    await task
