"""`Calls`: the ASGI application that answers the methods of the core; gRPC's rules for the wire are in `framing`.

A call consists of headers and one message, in any number of pieces. It passes the layers and the handler, and is
answered by headers, a message and trailers, or by trailers only. Envoy receives no more than is read, so a caller that
is not admitted, or an upload that waits for room, occupies one flow-control window.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from grpc import StatusCode

from proxy.calls.call import Call, Handler, Reply
from proxy.envoy import framing
from proxy.envoy.departures import Departures, Receive, Watched
from proxy.envoy.fast_path import AT_ONCE, HEADERS, FastPath
from proxy.served import Served
from proxy.transport.admission import Admission
from proxy.transport.fast_path import Hits
from proxy.transport.forward import unary_forwarder
from proxy.transport.layers import Layers, Progress
from proxy.transport.limits import Limits

Event = dict[str, Any]
Send = Callable[[Event], Awaitable[None]]
_NO_METHOD = Reply(code=StatusCode.UNIMPLEMENTED, details="there is no method of this name")


class Calls:
    """`call_timeout` (seconds, 0: none) applies to calls whose caller set no deadline, except to uploads.

    Envoy is configured with the same deadlines, and ends calls by them.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        layers: Layers,
        departures: Departures,
        call_timeout: float,
        limits: Limits,
        fast: tuple[Iterable[Hits], Admission] | None = None,
    ) -> None:
        self._layers = layers
        self._departures = departures
        self._limits = limits
        self._timeout = call_timeout or None
        self._admission = None if fast is None else fast[1]
        self._forward: Handler = _unknown
        self._take_up(routes, () if fast is None else fast[0])

    def take_up(self, served: Served) -> None:
        """Uses another policy for calls that begin from now on; Envoy may still route by the old one for a moment."""
        self._layers.large_methods = served.large_methods
        self._forward = unary_forwarder(served.upstreams)
        self._take_up(served.routes, served.hits)

    def _take_up(self, routes: Mapping[str, Handler], every: Iterable[Hits]) -> None:
        self._handlers = routes
        admission = self._admission
        self._fast = (
            {} if admission is None else {hits.method: FastPath(hits, admission, self._slow_path) for hits in every}
        )

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers one call. Nearly always its method is in `routes`: others come only just after `take_up`."""
        if scope["query_string"]:  # Envoy ignores it when it selects a route, and no method has one
            await _finish(send, _NO_METHOD)
            return
        fast = self._fast.get(scope["path"])
        await (self._slow_path(scope, receive, send) if fast is None else fast.serve(scope, receive, send))

    async def _slow_path(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, progress: Progress | None = None
    ) -> None:
        method: str = scope["path"]
        finish = partial(_finish, send)
        try:
            head = framing.head(scope["headers"])
        except ValueError as error:
            await finish(Reply(code=StatusCode.INTERNAL, details=str(error)))
            return
        limit = None if method in self._layers.large_methods else self._timeout
        remaining = limit if head.timeout is None else head.timeout
        looked, read = (None, None) if progress is None else (progress.looked, progress.body)
        request = _Request(receive, head.encoding, self._departures, self._limits, read)
        work = partial(
            self._layers.unary,
            method,
            self._handlers.get(method, self._forward),
            head.metadata,
            remaining,
            request.read,
            looked,
            request.announced,
        )
        try:
            await self._layers.serve(method, head.metadata, work, finish, partial(_peer, scope), progress=progress)
        except _CallerGoneError:
            return
        except asyncio.CancelledError:
            if not request.left:
                raise
        finally:
            request.close()


async def _unknown(call: Call) -> Reply:
    return Reply(code=StatusCode.UNIMPLEMENTED, details=f"{call.method} is not served here")


def _peer(scope: Mapping[str, Any]) -> str:
    """Names the caller's connection."""
    return str(scope["client"])


class _CallerGoneError(asyncio.CancelledError):
    """The caller is gone. All code that the call passes through sees a cancellation."""


class _Request:
    """A request as it arrives. Once it is complete, `Departures` watches its caller."""

    __slots__ = ("_begin", "_departures", "_encoding", "_limits", "_more", "_receive", "_received", "_watched")

    def __init__(
        self, receive: Receive, encoding: bytes, departures: Departures, limits: Limits, received: Any = None
    ) -> None:
        """`received` is an ASGI event that was already received."""
        self._receive = receive
        self._received = received
        self._encoding = encoding
        self._departures = departures
        self._limits = limits
        self._watched: Watched | None = None
        self._more = True
        self._begin: bytes | None = None
        """What was read to determine the message's size."""

    @property
    def left(self) -> bool:
        """Whether the caller was found to have left while its call was being answered."""
        return self._watched is not None and self._watched.gone

    async def announced(self) -> int | Reply:
        """The size of the message in bytes, once its beginning has arrived; or the reply that refuses it."""
        if refused := framing.unsupported(self._encoding, self._limits):
            return refused
        start = await self._chunk()
        while self._more and len(start) < framing.PREFIX:
            start += await self._chunk()
        self._begin = start
        size = framing.length(start[: framing.PREFIX])
        return framing.too_large(size, self._limits) or size

    async def read(self) -> bytes | Reply:
        """The message, or the reply if there is no usable one."""
        if self._begin is None:
            announced = await self.announced()
            if isinstance(announced, Reply):
                return announced
        start, self._begin = self._begin or b"", None
        prefix, data = start[: framing.PREFIX], start[framing.PREFIX :]
        if self._more:
            data = await self._rest(data, framing.length(prefix))
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- an ASGI application runs in one
        self._watched = self._departures.enter(self._receive, task)
        return framing.message(prefix, data, self._encoding, self._limits)

    def close(self) -> None:
        """Ends the watch; to be called when the call has ended."""
        if self._watched is not None:
            self._departures.leave(self._watched)

    async def _rest(self, first: bytes, most: int) -> bytes:
        """All of a message that arrives in pieces. A body that is too long is not read to its end."""
        pieces, held = [first], len(first)
        while self._more and held <= most:
            pieces.append(await self._chunk())
            held += len(pieces[-1])
        return b"".join(pieces)

    async def _chunk(self) -> bytes:
        event, self._received = self._received or await self._receive(), None
        if event["type"] == "http.disconnect":
            raise _CallerGoneError
        self._more = event["more_body"]
        body: bytes = event["body"]
        return body


_NO_MESSAGE: Event = {"type": "http.response.body", "body": b""}


async def _in_pieces(send: Send, body: bytes) -> None:
    """Sends a body in pieces. Envoy accepts the next piece once the caller has taken the previous ones; until then the
    call keeps its place in `Admission`.
    """
    for at in range(0, len(body), AT_ONCE):
        piece = body[at : at + AT_ONCE]
        await send({"type": "http.response.body", "body": piece, "more_body": at + AT_ONCE < len(body)})


async def _finish(send: Send, reply: Reply) -> None:
    """Sends an outcome. Raises _CallerGoneError if the caller is gone."""
    body = reply.body if reply.code is StatusCode.OK else None
    try:
        if body is None and not reply.initial_metadata:
            await send({**HEADERS, "headers": framing.trailers_only(reply), "trailers": False})
            await send(_NO_MESSAGE)
            return
        initial = reply.initial_metadata
        await send({**HEADERS, "headers": framing.initial(initial)} if initial else HEADERS)
        if body is not None and len(body) > AT_ONCE:
            await _in_pieces(send, framing.framed(body))
        else:
            await send(_NO_MESSAGE if body is None else {"type": "http.response.body", "body": framing.framed(body)})
        await send({"type": "http.response.trailers", "headers": framing.trailers(reply)})
    except OSError:  # pyvoy raises it if the caller is gone
        raise _CallerGoneError from None
