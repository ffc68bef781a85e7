"""`Publisher`: sends the origin's events. They are lost while the broker is down, not when it drops a connection."""

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
    """An event as it is published."""

    routing_key: str
    body: dict[str, Any]
    exchange: str = "damar.events"


class Publisher:
    """Sends events in the order in which it gets them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self.down = False
        """Set while the broker is stopped; events sent meanwhile are lost."""
        self.mute = False
        """Set to lose events although the broker is up, as if the publisher did not reconnect."""
        self.sent = 0
        self.lost = 0

    def send(self, message: Message) -> None:
        """Queues an event; returns at once."""
        self._waiting.put_nowait(message)

    async def idle(self) -> None:
        """Returns once all events are confirmed by the broker or lost."""
        await self._waiting.join()

    async def run(self) -> None:
        """Sends events until cancelled."""
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
