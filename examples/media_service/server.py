"""`running`: starts and stops the media service and everything that it needs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from opentelemetry.trace import Tracer

from examples.media_service.events import EventPublisher
from examples.media_service.service import LARGEST_UPLOAD, MediaService
from examples.media_service.settings import MediaSettings
from examples.media_service.signing import Signer
from examples.media_service.store import MediaStore
from examples.traces import server_spans
from proxy.pb.media_pb2 import UploadFileRequest
from proxy.pb.media_pb2_grpc import add_MediaServiceServicer_to_server

_OPTIONS = (
    # Room for the other fields beside 50 MiB of content; the service itself refuses larger content, with a message.
    ("grpc.max_receive_message_length", LARGEST_UPLOAD + (4 << 20)),
    ("grpc.max_send_message_length", -1),
    # Otherwise a second service could start on the same port, and take half of the calls.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A running media service."""

    address: str
    """`host:port`, with the real port where 0 was asked for."""
    directory: Path
    events: EventPublisher


@asynccontextmanager
async def running(settings: MediaSettings, tracer: Tracer | None = None) -> AsyncIterator[Running]:
    """Serves while the context lasts; RuntimeError if the address cannot be bound."""
    async with AsyncExitStack() as stack:
        directory = settings.data_dir
        if directory is None:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="media-service-")))
        directory.mkdir(parents=True, exist_ok=True)
        store = MediaStore(directory, settings.first_id)
        stack.callback(store.close)
        if settings.seed and store.empty():
            _seed(store)
        events = EventPublisher(settings.rabbitmq_addr)
        await stack.enter_async_context(_owned(events))
        service = MediaService(store, events, Signer(), latency=settings.latency, expires=settings.presign_expires)
        stack.push_async_callback(service.aclose)
        server = grpc.aio.server(options=_OPTIONS, interceptors=server_spans(tracer))
        add_MediaServiceServicer_to_server(service, server)
        port = server.add_insecure_port(settings.listen_addr)
        await server.start()
        stack.push_async_callback(server.stop, 1)
        yield Running(f"{settings.listen_addr.rpartition(':')[0]}:{port}", directory, events)


@asynccontextmanager
async def _owned(events: EventPublisher) -> AsyncIterator[None]:
    """Runs the publisher's task while the context lasts."""
    task = asyncio.create_task(events.run(), name="event publisher")
    try:
        yield
    finally:
        await events.stop()
        await task


def _seed(store: MediaStore) -> None:
    """Stores the avatars that the examples read. They exist before any caller, so no event announces them."""
    for user in (1, 123):
        store.add(
            UploadFileRequest(
                model_type="User",
                model_id=user,
                collection_name="avatars",
                file_name="avatar.jpg",
                mime_type="image/jpeg",
                content=b"\xff\xd8\xff\xe0 no real picture \xff\xd9",
            ),
            size=52428,
        )
