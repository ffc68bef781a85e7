"""`Publisher`: announces changes on RabbitMQ.

Like real services, it publishes once, after the commit. An event that the broker does not accept then is lost, and the
log says so. Consumers have to take into account that they may have missed events.
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq import spec

from examples.environment import masked

_log = logging.getLogger(__name__)
_PUBLISH_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 5.0
_RECONNECT_AFTER = 1.0


def enveloped(owner: int, data: Mapping[str, str | int]) -> bytes:
    """Returns the body of an event: JSON, whose `data` is the base64 of the JSON that describes the change."""
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    return json.dumps({"ownerId": str(owner), "data": encoded}).encode()


class _Unnamed(spec.Basic.Properties):
    """Properties without a message id: real publishers set none, and aiormq would generate one."""

    @property
    def message_id(self) -> None:
        return None

    @message_id.setter
    def message_id(self, value: str | None) -> None:
        """Ignores it."""


class _Message(aio_pika.Message):
    @property
    def properties(self) -> spec.Basic.Properties:
        return _Unnamed(content_type=self.content_type, delivery_mode=int(self.delivery_mode), timestamp=self.timestamp)


class Publisher:
    """Publishes to a topic exchange on the first of `urls` that answers; without URLs, it publishes nothing."""

    def __init__(self, urls: tuple[str, ...], exchange: str, clock: Callable[[], float] = time.time) -> None:
        self._urls = urls
        self._name = exchange
        self._clock = clock
        self._exchange: AbstractExchange | None = None
        self._connection: Connection | None = None
        self._lost, self._stopping = asyncio.Event(), asyncio.Event()
        self.connected = asyncio.Event()
        """Set while there is a broker to publish to."""

    async def run(self) -> None:
        """Keeps a connection until `stop`; its owner awaits it. Do not cancel it: aiormq may swallow that and hang."""
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
        """Ends `run`, whatever it waits for, by closing its connection."""
        self._stopping.set()
        self._lost.set()
        if self._connection is not None:
            await self._connection.close()

    async def _connected_to(self, url: str) -> None:
        """Returns when the connection is lost or should end."""
        self._lost.clear()
        self._connection = connection = Connection(make_url(url))
        try:
            await connection.connect(timeout=_CONNECT_TIMEOUT)
            channel = await connection.channel()
            exchange = await channel.declare_exchange(
                self._name, aio_pika.ExchangeType.TOPIC, durable=True, timeout=_CONNECT_TIMEOUT
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

    async def send(self, routing_key: str, body: bytes, about: str) -> None:
        """Publishes one event and waits at most five seconds for the broker's confirmation. It never raises.

        `about` is its name in the log if it is lost.
        """
        if not self._urls:
            return
        exchange = self._exchange
        if exchange is None:
            _log.warning("event lost: %s of %s, no RabbitMQ", routing_key, about)
            return
        try:
            await exchange.publish(self._message(body), routing_key, mandatory=False, timeout=_PUBLISH_TIMEOUT)
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            self._lost.set()
            _log.warning("event lost: %s of %s, %s", routing_key, about, type(error).__name__)

    def _message(self, body: bytes) -> _Message:
        return _Message(
            body,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            timestamp=int(self._clock()),
        )
