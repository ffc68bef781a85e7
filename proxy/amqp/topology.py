"""`Topology`: what must exist in RabbitMQ for events to reach the proxy, and whether it has existed all the time.

    exchange  the publishers' exchange, as the policy names it (`damar.events`): topic, durable.
    queue     the proxy's, one for each event of the policy. A queue that did not exist has missed events.
    mark      `<prefix>-caught-up`, an exchange of the proxy that is bound *to* the publishers' exchange; nothing is
    ever
              published to it. While it exists, no event has been missed and no flush is owed. Each exchange of the
              publishers has its own mark; those after the first are named `<prefix>-caught-up-<exchange>`.

The mark is declared once a flush is done, and removed before anything else when a flush is owed, so that a process
killed in between leaves the flush to the next one. The broker itself removes the mark in the two cases that leave no
other trace: when the publishers' exchange is deleted and declared again (the proxy's bindings are deleted with it, and
so is the mark, which is auto-delete), and when the broker restarts (the mark is not durable) while publishers lose
events.

If the proxy's user may not declare the mark, these two cases go unnoticed unless a reconnect attempt fails meanwhile.

The operations on a connection share one channel, until the broker refuses an operation, which closes the channel. They
run every 30 s, and aio-pika 10.2 keeps some 10 KB of every channel for as long as its connection lives.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused
from pamqp.common import Arguments

from proxy.telemetry.queue_depths import QueueDepths

RETIRED_PREFIX = "api-gateway-media"
"""The prefix of the gateway's retired in-process subscriber, whose queues were declared without arguments."""

_SEVEN_DAYS = 7 * 86_400_000
_OTHERWISE = (
    "%s exists with other arguments and is used as it is; delete it, and the proxy declares it again with its own"
)
_FORBIDDEN = "RabbitMQ's user may not declare %s: the existing one is used, and is not recreated if it is deleted"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Findings:
    """What `look` found on the broker."""

    missing: tuple[str, ...]
    """Queues that do not exist."""
    missed: str
    """Why events may have been missed; empty if they were not."""


class Source(NamedTuple):
    """Where the messages of a queue come from: the exchange and the routing keys."""

    exchange: str
    keys: tuple[str, ...]


class Topology:
    """The queues of one prefix. It remembers what it has already logged, and a channel."""

    def __init__(self, prefix: str, sources: Mapping[str, Source]) -> None:
        """`sources` by the queue's name without the prefix."""
        self.queues = {f"{prefix}-{end}": source for end, source in sources.items()}
        """The sources by the queue's full name."""
        exchanges = dict.fromkeys(source.exchange for source in sources.values())
        self._marks = {
            exchange: f"{prefix}-caught-up" + (f"-{exchange}" if number else "")
            for number, exchange in enumerate(exchanges)
        }
        """The mark of each exchange."""
        self._mark_refused = False
        self._arguments: Arguments = None if prefix == RETIRED_PREFIX else {"x-expires": _SEVEN_DAYS}
        self._foreign: set[str] = set()
        self._forbidden: set[str] = set()
        self._open: tuple[AbstractConnection, AbstractChannel] | None = None
        self.depths = QueueDepths()

    async def look(self, connection: AbstractConnection, *, at_mark: bool = True) -> Findings:
        """Looks for what is missing, without changing anything. It must run before anything is declared, which would
        destroy the evidence. `at_mark`: whether to look for the marks too.
        """
        missing = []
        for queue in self.queues:
            try:
                async with self.channel(connection) as channel:
                    said = (await channel.get_queue(queue)).declaration_result
                self.depths.told(queue, said.message_count, said.consumer_count)
            except ChannelNotFoundEntity:
                missing.append(queue)
                self.depths.missing(queue)
        if missing:
            return Findings(tuple(missing), f"queue {missing[0]} did not exist")
        for exchange in self._marks if at_mark else ():
            if not await self._marked(connection, exchange):
                return Findings(
                    (), f"exchange {exchange} or RabbitMQ was replaced or restarted, or a flush was left undone"
                )
        return Findings((), "")

    async def _marked(self, connection: AbstractConnection, exchange: str) -> bool:
        """Whether the exchange's mark exists: binding it again changes nothing if it does. The broker checks
        permissions first, so without them the mark counts as existing.
        """
        if self._mark_refused:
            return True
        try:
            async with self.channel(connection) as channel:
                await self._bind_mark(channel, exchange)
        except ChannelNotFoundEntity:
            return False
        except ChannelClosed as refusal:
            self._without_mark(refusal, exchange)
        return True

    async def declare(self, connection: AbstractConnection, queue: str) -> None:
        """Declares one queue. Raises ChannelPreconditionFailed if it exists with other arguments."""
        async with self.channel(connection) as channel:
            await channel.declare_queue(queue, durable=True, arguments=self._arguments)

    async def establish(self, connection: AbstractConnection, *, declare: bool = True) -> str:
        """Declares and binds everything, whether it exists or not. Without `declare`, queues are only bound: a process
        that consumes none is not told when one is deleted, and must not hide that by declaring it again.

        A queue that exists with other arguments is used as it is. When it is first found, events may have been missed,
        because someone else has declared it; the reason is returned then, and otherwise an empty string. What the user
        may not declare or bind is used as it is, too; if the exchange does not exist, binding to it raises an error.
        """
        missed = ""
        for exchange in self._marks:
            with self._forgiving(f"exchange {exchange}"):
                async with self.channel(connection) as channel:
                    await channel.declare_exchange(exchange, ExchangeType.TOPIC, durable=True)
        for queue, source in self.queues.items():
            if declare and await self._declared_otherwise(connection, queue):
                missed = f"queue {queue} was declared again by someone else"
            for key in source.keys:
                with self._forgiving(f"binding of {queue}"):
                    async with self.channel(connection) as channel:
                        await (await channel.get_queue(queue, ensure=False)).bind(source.exchange, key)
        return missed

    async def _declared_otherwise(self, connection: AbstractConnection, queue: str) -> bool:
        """Declares a queue; True if it is found with other arguments for the first time."""
        known = f"queue {queue}" in self._foreign
        with self._forgiving(f"queue {queue}"):
            await self.declare(connection, queue)
            self._foreign.discard(f"queue {queue}")
        return not known and f"queue {queue}" in self._foreign

    async def mark(self, connection: AbstractConnection) -> None:
        """Records for later sessions that nothing was missed so far; to be called only once the flush is done."""
        for exchange, mark in self._marks.items():
            if self._mark_refused:
                return
            try:
                async with self.channel(connection) as channel:
                    await channel.declare_exchange(mark, ExchangeType.FANOUT, auto_delete=True, internal=True)
                    await self._bind_mark(channel, exchange)
            except ChannelClosed as refusal:
                self._without_mark(refusal, exchange)

    async def unmark(self, connection: AbstractConnection) -> None:
        """Records that a flush is owed. It is no error if there is no mark."""
        for exchange, mark in self._marks.items():
            if self._mark_refused:
                return
            try:
                async with self.channel(connection) as channel:
                    await channel.exchange_delete(mark)
            except ChannelClosed as refusal:
                self._without_mark(refusal, exchange)

    async def purge(self, connection: AbstractConnection) -> None:
        """Drops all waiting messages; to be called only if a flush is owed, which covers their invalidations."""
        for queue in self.queues:
            async with self.channel(connection) as channel:
                await (await channel.get_queue(queue, ensure=False)).purge()

    async def _bind_mark(self, channel: AbstractChannel, exchange: str) -> None:
        await (await channel.get_exchange(exchange, ensure=False)).bind(self._marks[exchange])

    def _without_mark(self, refusal: ChannelClosed, exchange: str) -> None:
        self._mark_refused = True
        _logger.info(
            "RabbitMQ's user may not declare and bind exchange %s, so events that are missed while %s is recreated or "
            "RabbitMQ restarts go unnoticed; grant it configure and read on that exchange, and write on %s",
            self._marks[exchange],
            exchange,
            exchange,
            extra={"reason": str(refusal)},
        )

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        """Continues if the broker refuses to declare or bind something; logs that the first time."""
        try:
            yield
        except ChannelPreconditionFailed as refusal:
            if what not in self._foreign:
                self._foreign.add(what)
                _logger.warning("%s", _OTHERWISE % what, extra={"reason": str(refusal)})
        except ChannelAccessRefused as refusal:
            if what not in self._forbidden:
                self._forbidden.add(what)
                _logger.info("%s", _FORBIDDEN % what, extra={"reason": str(refusal)})

    @asynccontextmanager
    async def channel(self, connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
        """A channel for one operation. However that ends, the next operation gets a usable channel."""
        kept, self._open = self._open, None
        if kept is not None and kept[0] is connection and not kept[1].is_closed:
            channel = kept[1]
        else:
            channel = connection.channel(publisher_confirms=False)
        try:
            if not channel.is_initialized:
                await channel.initialize()
            yield channel
        except BaseException:
            if channel.is_initialized:
                await channel.close()
            raise
        self._open = (connection, channel)
