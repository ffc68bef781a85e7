"""`Link`: one connection to one Redis server, shared by all calls of a process.

Requests are sent without waiting for earlier replies, and replies are matched in order (RESP is strictly first in,
first out). redis-py connects, with TLS, authentication and Sentinel discovery. The sharing is done here (`redis_wire`),
since taking a connection from redis-py's pool for each call costs more than the call.

Cancelling a request only abandons its future. The reply still arrives, is matched with that future and dropped, so no
caller ever gets another caller's reply.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.errors import RedisRefusedError, RedisUnavailableError
from proxy.reasons import in_words
from proxy.store.fullness import Fullness
from proxy.store.permissions import Permissions
from proxy.store.redis_greeting import CONNECT_TIMEOUT, Greeting, greet
from proxy.store.redis_wire import Wire
from proxy.telemetry.span_names import RedisPeer

Reply = asyncio.Future[object]

_STEADY = 1.0  # seconds; a connection that lasted less counts as a failed attempt
_FEW = 8
"""While fewer commands await replies, each is sent by itself; otherwise those of a turn are sent together."""
_MOST_PENDING = 8192
_MOST_PENDING_BYTES = 64 << 20
_LOST = (RedisConnectionError, RedisTimeoutError)
_OUT_OF_SLOT = "attempted to access a non local key"
"""The error of a script in a slot that is being migrated: the script has removed everything in the key, so the key no
longer exists on this node. The next attempt goes to the node that imports the slot."""
REDIRECTIONS = (AskError, ClusterDownError, NoScriptError, TryAgainError)
"""Errors that mean "ask another node" or "try again" (redis-py's MovedError is an AskError). They stay as they are."""


class Link:
    """One connection, made and remade by `run` and usable while `connected`."""

    def __init__(
        self, make: Callable[[], AbstractConnection], scripts: Sequence[bytes], *, in_cluster: bool = True
    ) -> None:
        """`in_cluster` says that several masters may share the keys."""
        self._make = make
        self._in_cluster = in_cluster
        self._scripts = scripts
        self._pending: deque[tuple[Reply, int, tuple[bytes, ...]]] = deque()
        self.permissions = Permissions(scripts)
        self.fullness = Fullness()
        self._pending_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self.peer = RedisPeer()
        """Host, port and database of the current connection, or of the last one."""
        self.run_id = b""
        """Identifies the server process and its current time as a master: a server that was a replica in between holds
        the data of its master of that time. It is known before the first reply is used."""
        self.greeting: Greeting | None = None
        """What the server said of itself when the current connection was opened, or the last one."""
        self.read_at = 0.0
        """When the last reply was read, by `time.monotonic`."""
        self.connected = asyncio.Event()
        self.failure = "not connected yet"
        """Why it is not connected, in one line without credentials."""

    def request(self, *command: bytes) -> Reply:
        """Sends one command. RedisUnavailableError at once if there is no connection or too much is pending."""
        wire = self._wire
        if wire is None:
            raise RedisUnavailableError(self.failure)
        packed: bytes = hiredis.pack_command(command)
        if len(self._pending) >= _MOST_PENDING or self._pending_bytes + len(packed) > _MOST_PENDING_BYTES:
            raise RedisUnavailableError("too many requests to Redis are waiting for a reply")
        wire.send(packed, at_once=len(self._pending) < _FEW)
        reply: Reply = self._loop.create_future()
        self._pending.append((reply, len(packed), command[:2]))
        self._pending_bytes += len(packed)
        return reply

    def drop(self, reason: str) -> None:
        """Closes the current connection. Pending requests fail, and `run` connects again."""
        self.failure = reason
        self.connected.clear()
        if self._wire is not None:
            self._wire.end(RedisConnectionError(reason))
            self._wire = None

    async def run(self, on_up: Callable[[], None], on_down: Callable[[str], None]) -> None:
        """Keeps a connection open until cancelled. `on_up` is called before the first request, `on_down` after each
        loss and each failed attempt.
        """
        backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
        failures = 0
        while True:
            connection: AbstractConnection | None = None
            writer: asyncio.StreamWriter | None = None
            up_since = math.inf
            try:
                connection = self._make()
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await connection.connect()  # type: ignore[no-untyped-call]
                    writer = connection._writer  # noqa: SLF001 -- redis-py forgets it when it closes
                    self.greeting = await greet(connection, self._scripts, in_cluster=self._in_cluster)
                    self.run_id = self.greeting.reign
                _require_not_cancelled()
                up_since = time.monotonic()
                self.peer = RedisPeer(
                    str(getattr(connection, "host", "")),
                    int(getattr(connection, "port", 0)),
                    int(getattr(connection, "db", 0) or 0),
                )
                self._wire = wire = await Wire.taken(connection, self._received)
                self.connected.set()
                on_up()
                await wire.over
            except Exception as error:  # noqa: BLE001 -- redis-py raises anything when the server is not Redis
                self._lost(_described(error))
                on_down(self.failure)
            finally:
                self._lost("closed")
                if connection is not None:
                    with suppress(RedisError, OSError):
                        await connection.disconnect(nowait=True)
                if writer is not None:
                    # A plain close keeps the unsent bytes and goes on trying to send them to a frozen server.
                    writer.transport.abort()
            failures = 1 if time.monotonic() - up_since >= _STEADY else failures + 1
            await asyncio.sleep(backoff.compute(min(failures, 10)) if failures > 1 else 0)

    def _received(self, reply: object) -> None:
        """Passes one reply to the oldest pending request. Raises if the connection cannot be used any longer."""
        if isinstance(reply, _LOST):
            raise reply
        if not self._pending:
            raise RedisConnectionError("Redis sent a reply that nobody asked for")
        waiter, size, command = self._pending.popleft()
        self._pending_bytes -= size
        self.read_at = time.monotonic()
        if not isinstance(reply, Exception):
            if self.permissions.missing:
                self.permissions.worked(command)
            if not waiter.done():
                waiter.set_result(reply)
            return
        if not waiter.done():
            waiter.set_exception(_translated(reply))
        self.permissions.refused(command, reply)
        self.fullness.refused(reply)
        if isinstance(reply, (ReadOnlyError, MasterDownError, RedisConnectionError)):
            raise reply  # demoted, loading, or credentials revoked: only a new connection can help

    def _lost(self, reason: str) -> None:
        if self.connected.is_set() or self._pending or reason != "closed":
            self.failure = reason
        self.connected.clear()
        pending, self._pending = self._pending, deque()
        self._pending_bytes = 0
        self._wire = None
        for waiter, *_ in pending:
            if not waiter.done():
                waiter.set_exception(RedisUnavailableError(self.failure))


def _require_not_cancelled() -> None:
    """redis-py uses `asyncio.wait_for`, which may swallow a cancellation in Python 3.11."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def ignored(reply: Reply) -> None:
    """A done callback for replies that nobody awaits, so that asyncio does not report their errors."""
    if not reply.cancelled():
        reply.exception()


def _translated(error: Exception) -> Exception:
    if _OUT_OF_SLOT in str(error):
        return TryAgainError(str(error))
    return error if isinstance(error, REDIRECTIONS) else RedisRefusedError(_described(error))


def _described(error: BaseException) -> str:
    """An error in one line. redis-py's messages name host and port, never a password."""
    if isinstance(error, TimeoutError):
        return f"no answer to connecting within {CONNECT_TIMEOUT:g} s"
    return in_words(error)
