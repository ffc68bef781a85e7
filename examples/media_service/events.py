"""`EventPublisher`: tells the world on RabbitMQ that a file was uploaded or deleted.

As the services in the wild do, it publishes once, after the commit: an event that the broker cannot take then is
lost, and said so in the log. Whoever depends on events has to know that it may have missed some.
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq import spec

from examples.environment import masked
from proxy.pb.media_pb2 import Media

EXCHANGE = "damar.events"
Kind = Literal["uploaded", "deleted"]

_log = logging.getLogger(__name__)
_PUBLISH_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 5.0
_RECONNECT_AFTER = 1.0


def envelope(kind: Kind, media: Media) -> bytes:
    """The body of an event: JSON, whose `data` is base64 of the JSON that describes the file."""
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
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    return json.dumps({"ownerId": str(media.model_id), "data": encoded}).encode()


class _Unnamed(spec.Basic.Properties):
    """Properties without a message id: the publishers in the wild set none, and aiormq would make one up."""

    @property
    def message_id(self) -> None:
        return None

    @message_id.setter
    def message_id(self, value: str | None) -> None:
        """Takes none."""


class _Message(aio_pika.Message):
    @property
    def properties(self) -> spec.Basic.Properties:
        return _Unnamed(content_type=self.content_type, delivery_mode=int(self.delivery_mode), timestamp=self.timestamp)


class EventPublisher:
    """Publishes to the first of `urls` that answers; without any, it publishes nothing."""

    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float] = time.time) -> None:
        self._urls = urls
        self._clock = clock
        self._exchange: AbstractExchange | None = None
        self._connection: Connection | None = None
        self._lost, self._stopping = asyncio.Event(), asyncio.Event()
        self.connected = asyncio.Event()
        """Set while there is a broker to publish to."""

    async def run(self) -> None:
        """Keeps a connection until `stop`; its owner awaits it. Do not cancel it: aiormq may swallow that, and hang."""
        said = False
        while self._urls and not self._stopping.is_set():
            for url in self._urls:
                try:
                    await self._connected_to(url)
                    said = False
                    if not self._stopping.is_set():
                        _log.warning("RabbitMQ lost at %s: events are off until it is back", masked(url))
                except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
                    if not said:
                        _log.warning("RabbitMQ away at %s (%s): events are off", masked(url), type(error).__name__)
                    said = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _RECONNECT_AFTER)

    async def stop(self) -> None:
        """Ends `run`, whatever it waits for: its connection is closed."""
        self._stopping.set()
        self._lost.set()
        if self._connection is not None:
            await self._connection.close()

    async def _connected_to(self, url: str) -> None:
        """Returns when the connection is lost, or is to end."""
        self._lost.clear()
        self._connection = connection = Connection(make_url(url))
        try:
            await connection.connect(timeout=_CONNECT_TIMEOUT)
            channel = await connection.channel()
            exchange = await channel.declare_exchange(
                EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, timeout=_CONNECT_TIMEOUT
            )
            connection.close_callbacks.add(lambda *_: self._lost.set())
            channel.close_callbacks.add(lambda *_: self._lost.set())
            self._exchange = exchange
            self.connected.set()
            _log.info("events go to %s", masked(url))
            if not self._stopping.is_set():
                await self._lost.wait()
        finally:
            self.connected.clear()
            self._connection = self._exchange = None
            await connection.close()

    async def publish(self, kind: Kind, media: Media) -> None:
        """Publishes one event, waiting for the broker's confirmation for at most five seconds. Never raises for it."""
        if not self._urls:
            return
        exchange, message = self._exchange, self._message(kind, media)
        if exchange is None:
            _log.warning("event lost: media.event.%s of file %d, no RabbitMQ", kind, media.id)
            return
        try:
            await exchange.publish(message, f"media.event.{kind}", mandatory=False, timeout=_PUBLISH_TIMEOUT)
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            self._lost.set()
            _log.warning("event lost: media.event.%s of file %d, %s", kind, media.id, type(error).__name__)

    def _message(self, kind: Kind, media: Media) -> _Message:
        return _Message(
            envelope(kind, media),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            timestamp=int(self._clock()),
        )
