"""`EventPublisher`: announces on RabbitMQ that a file was uploaded or deleted."""

import time
from collections.abc import Callable
from typing import Literal

from examples.publisher import Publisher, enveloped
from proxy.pb.media_pb2 import Media

EXCHANGE = "damar.events"
Kind = Literal["uploaded", "deleted"]


def envelope(kind: Kind, media: Media) -> bytes:
    """Returns the body of an event, which describes the file."""
    data: dict[str, str | int] = {
        "media_id": media.id,
        "uuid": media.uuid,
        "model_type": media.model_type,
        "model_id": media.model_id,
        "collection_name": media.collection_name,
        "file_name": media.file_name,
    }
    if kind == "uploaded":
        data |= {"mime_type": media.mime_type, "size": media.size}
    return enveloped(media.model_id, data)


class EventPublisher(Publisher):
    """Publishes the media service's events."""

    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float] = time.time) -> None:
        super().__init__(urls, EXCHANGE, clock)

    async def publish(self, kind: Kind, media: Media) -> None:
        """Publishes one event; see `send`."""
        await self.send(f"media.event.{kind}", envelope(kind, media), f"file {media.id}")
