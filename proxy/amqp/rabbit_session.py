"""`RabbitSession`: one connection to RabbitMQ, from the attempt to connect until its end.

The library must not be cancelled while it waits for an answer: it swallows the cancellation, or keeps waiting for an
answer that cannot arrive (measured with aiormq 7.2: a stop that hung). So every operation on the broker is a *step* in
a task of its own. A step that takes too long is not cancelled: its connection is closed, which ends it. The library
itself cancels what waits when it misses heartbeats: to us that is a lost connection, and must not end our own tasks.
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
"""Seconds, where the URL sets none. The broker takes our messages back once it has heard nothing of us for two of them,
and we count it as lost after three and a little more. Shorter ones are known for false alarms.
"""
STEP_TIMEOUT = 10.0
"""Seconds for what talks to the broker in one go."""

_PATIENCE = 1.0  # seconds that a step still has when it is given up
_CLOSE_TIMEOUT = 3.0


class RabbitSession:
    """A connection and why it ended. `wake` is set when it did, or when there is something else to look at."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.place: span_names.Place = {}
        """Where the broker is, for spans."""
        self.wake = asyncio.Event()
        self.lost = ""
        """Why it ended, in a few words without anything of a message; empty: it has not."""
        self.queue_deleted = False
        self.undecodable = False
        """A message came that the library cannot decode."""
        self.heard_until = math.inf
        """When events ceased to arrive, by `time.monotonic`: earlier than anybody knew where the broker fell silent."""
        self._closing = False
        self._wire = connection.transport.connection if connection.transport is not None else None
        connection.close_callbacks.add(self._connection_closed)

    @classmethod
    async def first(cls, urls: Sequence[str], context: ssl.SSLContext | None = None) -> Self:
        """To the first node that takes us; raises what the last one said."""
        *others, last = urls
        for url in others:
            with suppress(*CONNECTION_EXCEPTIONS):
                return await cls.open(url, context)
        return await cls.open(last, context)

    @classmethod
    async def open(cls, url: str, context: ssl.SSLContext | None = None) -> Self:
        """Connects; raises one of aio-pika's CONNECTION_EXCEPTIONS, or TimeoutError. `context` is for amqps; without
        it the URL's own TLS options hold.
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
        """The end of this channel, or of one of its consumers, ends the session."""
        channel.close_callbacks.add(self._channel_closed)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._consumer_cancelled)

    async def unwatch(self, channel: AbstractChannel) -> None:
        """Its end, which is wanted, ends nothing else."""
        channel.close_callbacks.discard(self._channel_closed)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.discard(self._consumer_cancelled)

    async def step(self, work: Coroutine[Any, Any, T], timeout: float = STEP_TIMEOUT) -> T:
        """The result of `work`; TimeoutError after `timeout` s. When cancelled, it leaves the work a moment to end."""
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
        """AMQPConnectionError when the session has ended."""
        if self.lost:
            raise AMQPConnectionError(self.lost)

    async def close(self) -> None:
        """Disconnects, within some seconds whatever the other end does. Does not count as a loss."""
        self._closing = True
        await _end(_owned(self.connection.close()))

    def _connection_closed(self, _: Any, error: BaseException | None) -> None:
        # Every loss of the connection is an OSError, a cancellation or nothing. Anything else was raised by decoding.
        self.undecodable = isinstance(error, Exception) and not isinstance(error, OSError)
        if isinstance(self._wire, aiormq.connection.Connection) and self._wire.is_connection_was_stuck:
            missed = (self._wire.heartbeat_timeout + 1) * self._wire.HEARTBEAT_GRACE_MULTIPLIER
            self.heard_until = min(self.heard_until, time.monotonic() - missed)
        self._ended("a message cannot be decoded" if self.undecodable else why(error))

    def _channel_closed(self, _: Any, error: BaseException | None) -> None:
        self._ended(why(error))

    def _consumer_cancelled(self, _: Any) -> None:
        self.queue_deleted = True
        self._ended("a queue of ours was deleted")

    def _ended(self, reason: str) -> None:
        if not self._closing:
            self.heard_until = min(self.heard_until, time.monotonic())
            self.lost = self.lost or reason
            self.wake.set()


def unconnected(url: str, context: ssl.SSLContext | None = None) -> Connection:
    """What is to connect, with our heartbeat where the URL names none, and our name in the broker's lists."""
    parsed = make_url(url)
    if "heartbeat" not in parsed.query:
        parsed = parsed.update_query(heartbeat=HEARTBEAT)
    return Connection(parsed, ssl_context=context, client_properties={"connection_name": "media-cache-proxy"})


def why(error: BaseException | None) -> str:
    """A few words for a log line, without any of a message."""
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
    """What the broker said as it refused to open the connection (a virtual host that is missing, full, or not ours).

    aiormq 7.2 raises that it expected another frame, and leaves the one that came nowhere but in its own variables.
    """
    trace = error.__traceback__
    while isinstance(error, InvalidFrameError) and trace is not None:
        frame = trace.tb_frame.f_locals.get("frame")
        if isinstance(frame, spec.Connection.Close):
            return " ".join(str(frame.reply_text).split())
        trace = trace.tb_next
    return ""


def _is_cancelled() -> bool:
    """By its owner, not by the library."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _owned(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task whose error counts as seen: whoever waits for it may be cancelled."""
    task = asyncio.create_task(work, name="events: step")
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def _end(task: "asyncio.Task[Any]") -> None:
    """Waits for the end of a task that should end by itself; cancels it when it does not, against all odds."""
    await asyncio.wait({task}, timeout=_CLOSE_TIMEOUT)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE)
