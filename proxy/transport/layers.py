"""`Layers`: what every call passes before and after it is answered, with either transport.

Outermost first:

1. Observer and span: outside the limits, so that refused calls show in metrics and traces.
2. Metadata: a call with too much of it is refused before it costs more.
3. Admission: before the request is read, so that a refused request stays in the caller's flow-control window. A call
   keeps its place until the caller has taken the answer, so a caller that reads no answers holds places, not memory.
4. Failures: an unexpected exception is logged with its traceback; the caller gets INTERNAL and a fixed text.
5. Memory: an upload waits, before it is read, until other uploads leave enough of `UPLOADS_AT_ONCE` bytes for its size,
   if the transport knows that size, or else for the largest upload. Any other large message is refused if it exceeds
   what is left of MAX_BYTES_IN_FLIGHT.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from grpc import StatusCode

from proxy.calls.call import Call, Handler, Metadata, Reply
from proxy.telemetry import span_names, tracing
from proxy.telemetry.callers import Use
from proxy.transport.admission import Admission
from proxy.transport.byte_budget import ByteBudget
from proxy.transport.large_messages import LARGE, LargeMessages, TooManyBytesError
from proxy.transport.limits import TOO_MUCH_METADATA, Limits

_log = logging.getLogger(__name__)


UPLOADS_AT_ONCE = 128 << 20
"""Bytes of uploads held at once. One upload takes up to four times its size in memory (measured)."""
_LARGEST_UPLOAD = 50 << 20
"""Bytes that an upload counts as where its size is known only after it has arrived: the media service's limit."""
_UPLOAD_WAITS = 10.0
"""Seconds that an upload waits for memory before it is refused."""
_UPLOAD_ARRIVES = 8.0
"""Seconds within which an upload has to arrive while others wait for memory; less than `_UPLOAD_WAITS`."""

NO_REQUEST = Reply(code=StatusCode.UNIMPLEMENTED, details="a unary call needs exactly one request message")
_FAILED = Reply(code=StatusCode.INTERNAL, details="internal error in the proxy; see its log")

_TOO_SLOW = Reply(
    code=StatusCode.RESOURCE_EXHAUSTED,
    limit="uploads",
    details=f"the upload did not arrive within {_UPLOAD_ARRIVES:g} s, and others wait for the memory kept for it",
)

_UNREAD = (
    "its request did not arrive: the caller left, or gRPC's core refused a request above MAX_MESSAGE_BYTES, metadata "
    "above MAX_METADATA_BYTES, or compression (ACCEPT_COMPRESSED)"
)

_DEFAULTS = Limits()

Read = Callable[[], Awaitable[bytes | Reply]]
"""The single request message of a unary call; a Reply if there is not exactly one, or if it cannot be decoded."""

Announced = Callable[[], Awaitable[int | Reply]]
"""The size of the message in bytes, as announced in its gRPC prefix; a Reply as for `Read`."""

_Sent = TypeVar("_Sent")


class ServerObserver(Protocol):
    """Receives each call that ended, each refusal by the proxy, and a way to see how full each limit is."""

    def server_call(self, method: str, code: StatusCode, seconds: float) -> None: ...
    def refused(self, limit: str, details: str) -> None: ...
    def limited(self, limit: str, use: Callable[[], Use]) -> None: ...


def _nobody() -> str:
    """The peer for transports that do not tell connections apart."""
    return "nobody"


@dataclass(slots=True)
class Progress:
    """What the fast path has done for a call that continues on the slow path. The fast path also releases its place."""

    started: float
    """When the call arrived, by `time.perf_counter`."""
    body: object = None
    """The request as the transport read it; None if it has not been read."""
    looked: object = None
    """For `Call.looked`."""


class Layers:
    """One object for all calls of a process, created inside the event loop."""

    def __init__(self, observer: ServerObserver, admission: Admission, limits: Limits = _DEFAULTS) -> None:
        self.place: span_names.Place = {}
        """The address that callers use, for spans; set when the port is open."""
        self.large_methods = limits.large_methods
        """Methods whose requests may be large. These wait for memory that is reserved for uploads."""
        self.large = LargeMessages(limits.bytes_in_flight)
        self._observer = observer
        self._admission = admission
        self._limits = limits
        self._uploads = ByteBudget(UPLOADS_AT_ONCE)
        self._too_many = Reply(
            code=StatusCode.RESOURCE_EXHAUSTED,
            limit="MAX_CONCURRENT_CALLS",
            details=f"the proxy serves at most {admission.limit} calls at once (MAX_CONCURRENT_CALLS)",
        )
        observer.limited("MAX_CONCURRENT_CALLS", lambda: Use(admission.in_progress, admission.limit))
        observer.limited("MAX_BYTES_IN_FLIGHT", lambda: Use(self.large.capacity - self.large.left, self.large.capacity))
        observer.limited("uploads", lambda: Use(self._uploads.capacity - self._uploads.left, self._uploads.capacity))

    async def serve(
        self,
        method: str,
        metadata: Metadata,
        work: Callable[[], Awaitable[Reply]],
        finish: Callable[[Reply], Awaitable[_Sent]],
        peer: Callable[[], str] = _nobody,
        at_end: Callable[[Callable[[], None]], None] | None = None,
        progress: Progress | None = None,
    ) -> _Sent:
        """Handles one call: `work` answers it, and `finish` sends the result. Cancelled when the caller is gone.

        `peer` names the caller's connection. `at_end` registers a function that runs once the caller has taken the
        answer or is gone; without it, those functions run when `finish` returns. A call with `progress` has been
        admitted, and the fast path releases its place.
        """
        endings: list[Callable[[], None]] = []
        at_end = at_end or endings.append
        started, code = time.perf_counter() if progress is None else progress.started, StatusCode.CANCELLED
        with tracing.server_span(method, metadata, self.place) as span:
            try:
                reply = self._too_many
                place: str | None = None
                if self._limits.too_much(metadata):
                    reply = TOO_MUCH_METADATA
                elif progress is not None or (place := self._admission.enter(peer)) is not None:
                    if place is not None:
                        at_end(partial(self._admission.leave, place))
                    try:
                        reply = await work()
                        if reply.body is not None and len(reply.body) > LARGE:
                            at_end(partial(self.large.give, self.large.take(reply.body)))
                    except TooManyBytesError:
                        reply = self.large.refusal
                    except Exception:  # noqa: BLE001 -- layer 4: whatever it is, it is logged; callers learn nothing of it
                        _log.exception("%s failed", method)
                        reply = _FAILED
                code = reply.code
                if reply.limit:
                    self._observer.refused(reply.limit, reply.details)
                return await finish(reply)
            finally:
                for do in endings:
                    do()
                span.ended(code)
                self._observer.server_call(method, code, time.perf_counter() - started)

    def unread(self) -> None:
        """Records that a call ended before its request arrived; gRPC's core does not say why."""
        self._observer.refused("unread", _UNREAD)

    async def unary(
        self,
        method: str,
        handler: Handler,
        metadata: Metadata,
        remaining: float | None,
        read: Read,
        looked: object = None,
        announced: Announced | None = None,
    ) -> Reply:
        """Answers a unary call. `remaining` is in seconds; None means that there is no deadline."""
        deadline = None if remaining is None else time.monotonic() + remaining
        if method in self.large_methods:
            return await self._upload(method, handler, metadata, deadline, read, announced)
        body = await read()
        if isinstance(body, Reply):
            return body
        if len(body) <= LARGE:
            return await handler(Call(method, body, metadata, deadline, looked))
        held = self.large.take(body)
        try:
            return await handler(Call(method, body, metadata, deadline))
        finally:
            self.large.give(held)

    async def _upload(
        self,
        method: str,
        handler: Handler,
        metadata: Metadata,
        deadline: float | None,
        read: Read,
        announced: Announced | None,
    ) -> Reply:
        size = _LARGEST_UPLOAD if announced is None else await announced()
        if isinstance(size, Reply):
            return size
        held = min(size, UPLOADS_AT_ONCE)
        try:
            async with asyncio.timeout(_UPLOAD_WAITS):
                await self._uploads.take(held)
        except TimeoutError:
            return self._no_room(held, known=announced is not None)
        try:
            body = await self._arrived(read)
            if isinstance(body, Reply):
                return body
            size = len(body)
            self._uploads.give(held - size)
            held = size
            return await handler(Call(method, body, metadata, deadline))
        finally:
            self._uploads.give(held)

    async def _arrived(self, read: Read) -> bytes | Reply:
        """Reads an upload for which memory is reserved. If it stalls while others wait for memory, it is refused."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal timer
            if self._uploads.waited_for:
                limit.reschedule(time.monotonic())
            else:
                timer = loop.call_later(_UPLOAD_ARRIVES, look)

        timer = loop.call_later(_UPLOAD_ARRIVES, look)
        try:
            # In the task of the call, which a transport cancels when the caller leaves.
            async with asyncio.timeout(None) as limit:
                return await read()
        except TimeoutError:
            if not limit.expired():
                raise
            return _TOO_SLOW
        finally:
            timer.cancel()

    def _no_room(self, size: int, *, known: bool) -> Reply:
        taken = UPLOADS_AT_ONCE - self._uploads.left
        counted = "" if known else f" (an upload counts as {_LARGEST_UPLOAD} until it has arrived)"
        return Reply(
            code=StatusCode.RESOURCE_EXHAUSTED,
            limit="uploads",
            details=f"uploads in progress use {taken} of {UPLOADS_AT_ONCE} bytes, and {size} more did not become free "
            f"within {_UPLOAD_WAITS:g} s{counted}",
        )
