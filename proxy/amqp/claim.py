"""`Claim`: detects proxies with another Redis on the same queues, because each side then misses half of the events.

    claim   `<prefix>-redis`, a queue without consumers. One of its arguments is the id of the proxies' Redis, which the
            broker compares at each declaration. It is declared every 30 s and expires two minutes after the last time.
    rival   a proxy whose declaration is refused has found the claim of another Redis, and leaves a message in its
            queue. The proxies that made the claim notice the message by the length of the queue.
If the proxy's user may not declare the queue or write to it, nothing is detected.
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
_DIGITS = 12  # hexadecimal digits of the id, which fit a number that AMQP and Erlang can compare
_logger = logging.getLogger(__name__)


class Channels(Protocol):
    """Provides a channel for one operation; see `Topology.channel`."""

    def channel(self, connection: AbstractConnection) -> AbstractAsyncContextManager[AbstractChannel]: ...


class Claim:
    """The claim of one Redis to the queues of one prefix."""

    def __init__(self, prefix: str, channels: Channels) -> None:
        self._name = f"{prefix}-redis"
        self._channels = channels
        self._refused = False
        self.rival = False
        """Whether proxies with another Redis use the same queues, as far as is known."""

    async def make(self, connection: AbstractConnection, redis_id: str) -> None:
        """Declares the claim; to be called at the start of each session and every 30 s. `redis_id` is hexadecimal, or
        empty while it is not known.
        """
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
            pass  # the queue has expired, or the user may not write to it

    def _met(self, rival: bool) -> None:
        if rival and not self.rival:
            _logger.warning(
                "%s; give one side a CACHE_NAMESPACE or an EVENTS_QUEUE_PREFIX of its own",
                RIVAL,
                extra={"dependency": "rabbitmq", "queue": self._name},
            )
        self.rival = rival
