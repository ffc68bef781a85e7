"""`Publisher`: sends the origin's events. A broker that is down loses them, one that drops a connection does not."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

_PAUSE = 0.05
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent."""

    routing_key: str
    body: dict[str, Any]
    exchange: str = "damar.events"


class Publisher:
    """Sends what it is given, in that order."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self.down = False
        """Whoever stops the broker says so: what is sent meanwhile is lost."""
        self.mute = False
        """The same with the broker up: it never reconnects, say."""
        self.sent = 0
        self.lost = 0

    def send(self, message: Message) -> None:
        """Returns at once."""
        self._waiting.put_nowait(message)

    async def idle(self) -> None:
        """Returns once the broker has confirmed all events, or they are lost."""
        await self._waiting.join()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._deliver(await self._waiting.get())
                self._waiting.task_done()
        finally:
            await self._disconnect()

    async def _deliver(self, event: Message) -> None:
        while not (self.down or self.mute):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await self._publish(event)
            except (*CONNECTION_EXCEPTIONS, TimeoutError):
                await self._disconnect()
                await asyncio.sleep(_PAUSE)
            else:
                self.sent += 1
                return
        self.lost += 1

    async def _publish(self, event: Message) -> None:
        if self._exchange is None:
            self._connection = await aio_pika.connect(self._url)
            channel = await self._connection.channel()
            self._exchange = await channel.declare_exchange(event.exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        message = aio_pika.Message(
            json.dumps(event.body).encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            timestamp=int(time.time()),
        )
        await self._exchange.publish(message, routing_key=event.routing_key)

    async def _disconnect(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(1):
                    await connection.close()
