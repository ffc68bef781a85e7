"""`Intake`: the channel on which a session receives events; there is none while this process takes no events."""

from contextlib import suppress

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from proxy.amqp.deliveries import Deliveries
from proxy.amqp.rabbit_session import RabbitSession

PREFETCH = 10
"""Maximum number of messages in hand per queue. If a process hangs, nobody else can apply them until the broker misses
its heartbeats, so the number is small, but large enough for thousands of events a second.
"""

ROOM_IN_PART = 500
"""The same while a part of Redis is away, so that messages that wait for it do not block the others."""
CROWDED = 400
"""Number of messages waiting for that part that leaves too little room for others."""
_BEHIND = -1
"""Priority of a consumer in a process that cannot apply everything, below that of processes that can."""
_STOP_TIMEOUT = 2.0  # seconds


class Intake:
    """The intake of one consumer's queues, in one session after another."""

    def __init__(self, queues: tuple[str, ...], deliveries: Deliveries, prefetch: int) -> None:
        self._queues = queues
        self._deliveries = deliveries
        self._prefetch = prefetch
        self._taken: tuple[RabbitSession, AbstractChannel] | None = None
        self._in_part = False

    def open_in(self, session: RabbitSession) -> bool:
        """Whether events arrive through this session now."""
        return self._taken is not None and self._taken[0] is session

    async def open(self, session: RabbitSession, *, in_part: bool = False) -> None:
        """Starts taking events, if it does not do so already. The end of the channel or of a consumer ends the session.
        `in_part`: takes more messages at a time, but only those that no process with all of Redis takes.
        """
        if self.open_in(session) and in_part is self._in_part:
            return
        await self.hand_back(session)
        prefetch = max(self._prefetch, ROOM_IN_PART) if in_part else self._prefetch
        self._deliveries.keep_newest(prefetch * len(self._queues))
        channel = session.connection.channel(publisher_confirms=False)
        await channel.initialize()
        await session.watch(channel)
        await channel.set_qos(prefetch)
        self._deliveries.place = session.place
        for name in self._queues:
            queue = await channel.get_queue(name, ensure=False)
            await queue.consume(
                self._deliveries.take, consumer_tag=name, arguments={"x-priority": _BEHIND} if in_part else None
            )
        self._taken, self._in_part = (session, channel), in_part

    async def hand_back(self, session: RabbitSession) -> None:
        """Stops taking events; RabbitMQ requeues the messages in hand at their old position, for others."""
        if self._taken is not None and self._taken[0] is session:
            channel, self._taken = self._taken[1], None
            await session.unwatch(channel)
            await channel.close()

    async def let_go(self, session: RabbitSession, grace: float) -> None:
        """Cancels the consumers, waits up to `grace` seconds for messages in hand, and closes the channel after their
        acknowledgements.
        """
        if self._taken is None or self._taken[0] is not session:
            return
        channel, self._taken = self._taken[1], None
        with suppress(*CONNECTION_EXCEPTIONS):
            await session.step(self._cancel(channel), _STOP_TIMEOUT)
        await self._deliveries.finish(grace)
        with suppress(*CONNECTION_EXCEPTIONS):
            await session.step(_closed(channel), _STOP_TIMEOUT)

    async def _cancel(self, channel: AbstractChannel) -> None:
        for name in self._queues:
            await (await channel.get_queue(name, ensure=False)).cancel(name)


async def _closed(channel: AbstractChannel) -> None:
    await channel.close()
