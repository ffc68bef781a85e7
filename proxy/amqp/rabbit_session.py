"""`RabbitSession`: one connection to RabbitMQ, from the attempt to connect until its end.

The library must not be cancelled while it waits for an answer: it swallows the cancellation, or keeps waiting for an
answer that cannot arrive (measured with aiormq 7.2: a stop that hung). So every operation on the broker is a *step* in
its own task. A step that takes too long is not cancelled; instead its connection is closed, which ends it. The library
itself cancels waiting operations when heartbeats are missed. That counts as a lost connection, and must not end the
tasks of the consumer.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import aiormq.connection
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, AMQPConnectionError
from aiormq.connection import DEFAULT_PORTS
from aiormq.exceptions import InvalidFrameError
from pamqp import commands as spec

from proxy.reasons import in_words
from proxy.telemetry import span_names

T = TypeVar("T")

HEARTBEAT = 5
"""Seconds between heartbeats, if the URL sets none. The broker requeues the messages in hand once it has received
nothing for two intervals, and the proxy counts the broker as lost after slightly more than three. Shorter intervals are
known to cause false alarms.
"""
STEP_TIMEOUT = 10.0
"""Seconds for one step."""

_PATIENCE = 1.0  # seconds for which a cancelled or closed step may still run
_CLOSE_TIMEOUT = 3.0


class RabbitSession:
    """A connection, and why it ended. `wake` is set when it has ended, or when its owner should check something."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.place: span_names.Place = {}
        """The broker's address, for spans."""
        self.wake = asyncio.Event()
        self.lost = ""
        """Why it ended, in a few words without any content of messages; empty if it has not ended."""
        self.queue_deleted = False
        self.undecodable = False
        """Whether a message arrived that the library cannot decode."""
        self.heard_until = math.inf
        """When events ceased to arrive, by `time.monotonic`; before the loss was noticed if the broker fell silent."""
        self._closing = False
        self._wire = connection.transport.connection if connection.transport is not None else None
        connection.close_callbacks.add(self._connection_closed)

    @classmethod
    async def first(cls, urls: Sequence[str], context: ssl.SSLContext | None = None) -> Self:
        """Connects to the first node that accepts; raises the last node's error."""
        *others, last = urls
        for url in others:
            with suppress(*CONNECTION_EXCEPTIONS):
                return await cls.open(url, context)
        return await cls.open(last, context)

    @classmethod
    async def open(cls, url: str, context: ssl.SSLContext | None = None) -> Self:
        """Connects; raises one of aio-pika's CONNECTION_EXCEPTIONS, or TimeoutError. `context` is for amqps; without
        it, the URL's own TLS options apply.
        """
        connection = unconnected(url, context)
        try:
            await connection.connect(timeout=STEP_TIMEOUT)
        except BaseException as error:
            await _end(_owned(connection.close()))
            if isinstance(error, asyncio.CancelledError) and not _is_cancelled():
                raise AMQPConnectionError(why(error)) from None
            raise
        session = cls(connection)
        host, port = connection.url.host, connection.url.port or DEFAULT_PORTS[connection.url.scheme]
        session.place = span_names.place(f"{host}:{port}")
        return session

    async def watch(self, channel: AbstractChannel) -> None:
        """Lets the end of this channel, or of one of its consumers, end the session."""
        channel.close_callbacks.add(self._channel_closed)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._consumer_cancelled)

    async def unwatch(self, channel: AbstractChannel) -> None:
        """Undoes `watch`, before the channel is closed on purpose."""
        channel.close_callbacks.discard(self._channel_closed)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.discard(self._consumer_cancelled)

    async def step(self, work: Coroutine[Any, Any, T], timeout: float = STEP_TIMEOUT) -> T:
        """Returns the result of `work`; raises TimeoutError after `timeout` seconds, or AMQPConnectionError if the
        connection ended. When it is cancelled, the work gets a moment to end.
        """
        began = time.monotonic()
        task = _owned(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=_PATIENCE)
            raise
        finally:
            if not task.done():
                await self.close()
                await _end(task)
        if not done:
            self.heard_until = min(self.heard_until, began)
            raise TimeoutError
        if task.cancelled():
            raise AMQPConnectionError(self.lost or why(None))
        return task.result()

    def check(self) -> None:
        """Raises AMQPConnectionError if the session has ended."""
        if self.lost:
            raise AMQPConnectionError(self.lost)

    async def close(self) -> None:
        """Disconnects within a few seconds, whatever the broker does. This does not count as a loss."""
        self._closing = True
        await _end(_owned(self.connection.close()))

    def _connection_closed(self, _: Any, error: BaseException | None) -> None:
        # A lost connection shows as OSError, a cancellation or None. Any other error was raised while decoding.
        self.undecodable = isinstance(error, Exception) and not isinstance(error, OSError)
        if isinstance(self._wire, aiormq.connection.Connection) and self._wire.is_connection_was_stuck:
            missed = (self._wire.heartbeat_timeout + 1) * self._wire.HEARTBEAT_GRACE_MULTIPLIER
            self.heard_until = min(self.heard_until, time.monotonic() - missed)
        self._ended("a message cannot be decoded" if self.undecodable else why(error))

    def _channel_closed(self, _: Any, error: BaseException | None) -> None:
        self._ended(why(error))

    def _consumer_cancelled(self, _: Any) -> None:
        self.queue_deleted = True
        self._ended("one of the proxy's queues was deleted")

    def _ended(self, reason: str) -> None:
        if not self._closing:
            self.heard_until = min(self.heard_until, time.monotonic())
            self.lost = self.lost or reason
            self.wake.set()


def unconnected(url: str, context: ssl.SSLContext | None = None) -> Connection:
    """A connection that is not open yet. It has the default heartbeat if the URL sets none, and a
    name for the broker.
    """
    parsed = make_url(url)
    if "heartbeat" not in parsed.query:
        parsed = parsed.update_query(heartbeat=HEARTBEAT)
    return Connection(parsed, ssl_context=context, client_properties={"connection_name": "media-cache-proxy"})


def why(error: BaseException | None) -> str:
    """The error in a few words for a log line, without any content of messages."""
    match error:
        case None:
            return "connection closed"
        case asyncio.CancelledError() | TimeoutError():
            return "no answer"
        case _ if words := _refusal(error):
            return words[:200]
        case _ if isinstance(error, CONNECTION_EXCEPTIONS) and error.args:
            return in_words(" ".join(str(part) for part in error.args))
        case _:
            return type(error).__name__


def _refusal(error: BaseException) -> str:
    """The broker's words when it refused the connection (a virtual host that is missing, full or forbidden); or empty.

    aiormq 7.2 only raises that it expected another frame, and keeps the received one only in its local variables.
    """
    trace = error.__traceback__
    while isinstance(error, InvalidFrameError) and trace is not None:
        frame = trace.tb_frame.f_locals.get("frame")
        if isinstance(frame, spec.Connection.Close):
            return " ".join(str(frame.reply_text).split())
        trace = trace.tb_next
    return ""


def _is_cancelled() -> bool:
    """Whether the current task was cancelled by its owner, not by the library."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _owned(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Starts a task whose error counts as retrieved, because whatever awaits it may be cancelled."""
    task = asyncio.create_task(work, name="events: step")
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def _end(task: "asyncio.Task[Any]") -> None:
    """Waits for a task that should end by itself, and cancels it if it does not."""
    await asyncio.wait({task}, timeout=_CLOSE_TIMEOUT)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE)
