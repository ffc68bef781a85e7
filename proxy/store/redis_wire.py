"""`Wire`: the bytes of a connection to Redis that redis-py has opened: it sends commands and receives replies in order.

redis-py reads each reply through a stream, a task and five layers of awaits: a third of the 76 us of CPU of a hit in
the core. Here the event loop passes received bytes to hiredis directly, and each reply reaches its request in the same
turn of the loop.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

_CLOSED = "Connection closed by server."
_INCOMPLETE = object()


class Wire(asyncio.Protocol):
    """Created by `taken`, inside the event loop.

    `received` is called with each reply; errors of Redis are exceptions. If it raises, the wire ends. The future `over`
    completes, always with an exception, when no more replies will come.
    """

    def __init__(self, parse_error: Callable[[str], Exception], received: Callable[[object], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_INCOMPLETE)
        self._received = received
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._full = False
        self.over: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def taken(cls, connection: AbstractConnection, received: Callable[[object], None]) -> "Wire":
        """Takes over a greeted connection without pending requests. Its streams receive nothing more."""
        if await connection.can_read():
            raise RedisConnectionError("Redis sent a reply that nobody asked for")
        writer = connection._writer  # noqa: SLF001 -- redis-py has no other way to its transport
        if writer is None:
            raise RedisConnectionError("the connection is closed")
        wire = cls(connection._parser.parse_error, received)  # noqa: SLF001 -- its errors are redis-py's own
        wire._transport = cast("asyncio.Transport", writer.transport)
        wire._transport.set_protocol(wire)
        return wire

    def send(self, packed: bytes, *, at_once: bool = False) -> None:
        """Queues a command. Everything queued in one turn of the event loop is sent at its end, in one system call;
        with `at_once` the command is sent now, unless others are queued before it. Waiting for the end of the turn
        costs a turn, a twelfth of a hit's CPU, which pays only where many commands share it.
        """
        if not self._outbox:
            if at_once and not self._full and self._transport is not None:
                self._transport.write(packed)
                return
            self._loop.call_soon(self._flush)
        self._outbox.append(packed)

    def end(self, error: Exception) -> None:
        """Ends the wire: nothing is sent or received from now on."""
        self._outbox.clear()
        self._transport = None
        if not self.over.done():
            self.over.set_exception(error)

    def _flush(self) -> None:
        if self._outbox and not self._full and self._transport is not None:
            batch, self._outbox = self._outbox, []
            self._transport.write(batch[0] if len(batch) == 1 else b"".join(batch))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while self._transport is not None and (reply := self._reader.gets(False)) is not _INCOMPLETE:
                self._received(reply)
        except Exception as error:  # noqa: BLE001 -- any error ends the wire
            self.end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(exc or RedisConnectionError(_CLOSED))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._flush()
