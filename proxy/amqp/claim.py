"""`Claim`: notices proxies with another Redis on the same queues, since each side then misses half of the events.

    claim   `<prefix>-redis`, a queue without consumers. One of its arguments is the id of our Redis, which the broker
            compares at each declaration. Declared every 30 s; it expires two minutes after the last declaration.
    rival   a proxy whose declaration is refused has found the claim of another Redis, and leaves a message in its
            queue. Those who made the claim see the message by the length of the queue.
If our user may not declare the queue or write to it, nothing is noticed.
"""

import logging
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelPreconditionFailed
from pamqp.common import Arguments

RIVAL = "proxies with another Redis consume from the same queues, so each side misses some of the events"
_LIFE = 120.0  # seconds
_DIGITS = 12  # of the id, as a number that AMQP and Erlang know how to compare
_logger = logging.getLogger(__name__)


class Channels(Protocol):
    """A channel for one operation; see `Topology`."""

    def channel(self, connection: AbstractConnection) -> AbstractAsyncContextManager[AbstractChannel]: ...


class Claim:
    """Of the queues of one prefix, for one Redis."""

    def __init__(self, prefix: str, channels: Channels) -> None:
        self._name = f"{prefix}-redis"
        self._channels = channels
        self._refused = False
        self.rival = False
        """Another Redis is behind our queues, as far as is known."""

    async def make(self, connection: AbstractConnection, redis_id: str) -> None:
        """Once at the start of each session, and every 30 s. `redis_id` is hexadecimal; empty: not known yet."""
        if self._refused or not redis_id:
            return
        arguments: Arguments = {"x-expires": int(_LIFE * 1000), "x-max-length": int(redis_id[:_DIGITS], 16)}
        try:
            async with self._channels.channel(connection) as channel:
                queue = await channel.declare_queue(self._name, durable=True, arguments=arguments)
            self._met(bool(queue.declaration_result.message_count))
        except ChannelPreconditionFailed:
            self._met(True)
            await self._warn(connection)
        except ChannelClosed:
            self._refused = True

    async def _warn(self, connection: AbstractConnection) -> None:
        try:
            async with self._channels.channel(connection) as channel:
                if not (await channel.declare_queue(self._name, passive=True)).declaration_result.message_count:
                    message = Message(b"", expiration=_LIFE / 2)
                    await channel.default_exchange.publish(message, self._name, mandatory=False)
        except ChannelClosed:
            pass  # gone by itself, or not ours to write to

    def _met(self, rival: bool) -> None:
        if rival and not self.rival:
            _logger.warning(
                "%s; give one side a CACHE_NAMESPACE or an EVENTS_QUEUE_PREFIX of its own",
                RIVAL,
                extra={"dependency": "rabbitmq", "queue": self._name},
            )
        self.rival = rival
