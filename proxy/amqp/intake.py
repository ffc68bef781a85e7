"""`Intake`: the channel of a session on which events come; there is none while this process takes none."""

from contextlib import suppress

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from proxy.amqp.deliveries import Deliveries
from proxy.amqp.rabbit_session import RabbitSession

PREFETCH = 10
"""Messages in hand for each of the two queues. A process that hangs keeps them, and nobody else applies them, until the
broker misses its heartbeats: so there are few, and yet enough for thousands of events a second.
"""

ROOM_IN_PART = 500
"""Messages in hand for each queue while a part of Redis is away: those that wait for it must not hold up the others."""
CROWDED = 400
"""So many that wait for it leave too little room for the others."""
_BEHIND = -1
"""The priority of a consumer that stands behind those who can apply everything."""
_STOP_TIMEOUT = 2.0  # seconds


class Intake:
    """Of the queues of one consumer; of one session after the other."""

    def __init__(self, queues: tuple[str, ...], deliveries: Deliveries, prefetch: int) -> None:
        self._queues = queues
        self._deliveries = deliveries
        self._prefetch = prefetch
        self._taken: tuple[RabbitSession, AbstractChannel] | None = None
        self._in_part = False

    def open_in(self, session: RabbitSession) -> bool:
        """Whether events come through this session now."""
        return self._taken is not None and self._taken[0] is session

    async def open(self, session: RabbitSession, *, in_part: bool = False) -> None:
        """Takes events from now on, if it does not yet; the end of the channel or of a consumer ends the session.
        `in_part`: takes many, and only those that nobody takes who is not so.
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
        """Takes no more events; what is in hand goes back to its place in the queue, for others."""
        if self._taken is not None and self._taken[0] is session:
            channel, self._taken = self._taken[1], None
            await session.unwatch(channel)
            await channel.close()

    async def let_go(self, session: RabbitSession, grace: float) -> None:
        """Cancels the consumers, lets messages in hand end, and closes the channel: behind the acknowledgements."""
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
