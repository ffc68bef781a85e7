"""`Listener`: where callers connect. It decides which method goes where and turns outcomes into gRPC statuses.

The layers a call passes, outermost first:

1. Health and reflection (`introspection`): answered for the proxy itself, never counted or limited, so that probes work
   under load and a health watcher does not hold up draining.
2. Path: what is no `/service/method` is UNIMPLEMENTED, before it costs anything.
3. Observer and span, limits, failures: `layers` says why in this order.
4. Routes: the methods that the core answers, then the others of MediaService, which are known to be unary, then
   everything else, as a stream of bytes.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import grpc
import grpc.aio
from grpc import StatusCode

from proxy.errors import StartError
from proxy.media.calls import Handler, Metadata, Reply
from proxy.pb import media_pb2
from proxy.telemetry import tracing
from proxy.tls import Leg
from proxy.transport.admission import Admission
from proxy.transport.channel_options import SERVER_OPTIONS
from proxy.transport.credentials import server_credentials
from proxy.transport.forward import Context, forward_stream, unary_forwarder
from proxy.transport.introspection import MEDIA_SERVICE, Health, reflection_handlers
from proxy.transport.layers import NO_REQUEST, Layers, ServerObserver
from proxy.transport.limits import Limits, clamped
from proxy.transport.patience import Patience
from proxy.transport.upstreams import Whereabouts

_log = logging.getLogger(__name__)

UNARY_METHODS = tuple(
    f"/{MEDIA_SERVICE}/{method.name}" for method in media_pb2.DESCRIPTOR.services_by_name["MediaService"].methods
)

_PATH = re.compile(r"/[!-.0-~]+/[!-.0-~]+")
_LAST_CALLS = 0.5
"""Seconds for calls that arrive between the end of idleness and the close of the port."""

_TOO_LATE = Reply(
    code=StatusCode.DEADLINE_EXCEEDED, details="no request came within CALL_TIMEOUT", limit="CALL_TIMEOUT"
)
_DEFAULT_LIMITS = Limits()

_Work = Callable[[Context, Metadata], Awaitable[Reply]]
"""Answers one call with this metadata: reads requests, may send messages, and returns what is left to send."""


class Routes(grpc.GenericRpcHandler):
    """Layers 2 and 4, for every server that a `Listener` opens; made inside the event loop."""

    def __init__(
        self,
        routes: Mapping[str, Handler],
        upstreams: Whereabouts,
        layers: Layers,
        call_timeout: float | None,
    ) -> None:
        self._upstreams = upstreams
        self._layers = layers
        self._call_timeout = call_timeout
        self._patience = Patience(call_timeout)
        forward = unary_forwarder(upstreams)
        handlers = {**dict.fromkeys(UNARY_METHODS, forward), **routes}
        self._unary = {method: self._unary_method(method, handler) for method, handler in handlers.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """What answers a method; None is UNIMPLEMENTED."""
        method = handler_call_details.method
        if known := self._unary.get(method):
            return known
        if not _PATH.fullmatch(method):
            return None
        work = partial(forward_stream, self._upstreams.of(method), self._layers.large, method)
        return grpc.stream_stream_rpc_method_handler(partial(self._serve, method, work))

    def _unary_method(self, method: str, handler: Handler) -> "grpc.RpcMethodHandler[Any, Any]":
        """Its grpc.aio kind is stream-unary: unlike unary-unary, that hands over before the request is read."""
        limit = None if method in self._layers.large_methods else self._call_timeout

        def work(context: Context, metadata: Metadata) -> Awaitable[Reply]:
            remaining = clamped(context.time_remaining())
            if remaining is not None:  # then gRPC's core ends the call
                read = partial(_read, context, self._layers.unread)
                return self._layers.unary(method, handler, metadata, remaining, read)
            read = partial(_read_in_time, context, self._layers.unread, self._patience)
            return self._layers.unary(method, handler, metadata, limit, read)

        return grpc.stream_unary_rpc_method_handler(partial(self._serve, method, work))

    async def _serve(self, method: str, work: _Work, _requests: object, context: Context) -> bytes | None:
        """One call. It is cancelled when the caller goes away or its deadline passes."""
        metadata: Metadata = tuple(context.invocation_metadata() or ())
        return await self._layers.serve(
            method,
            metadata,
            partial(work, context, metadata),
            partial(_finish, context),
            context.peer,
            partial(_at_end, context),
        )


async def _read(context: Context, unread: Callable[[], None]) -> bytes | Reply:
    """The request's message. gRPC's core refuses calls by itself, and shows them as if their caller had left."""
    try:
        body: object = await context.read()
        return body if isinstance(body, bytes) else await _no_message(context)
    except asyncio.CancelledError:
        unread()
        raise


async def _read_in_time(context: Context, unread: Callable[[], None], patience: Patience) -> bytes | Reply:
    try:
        body: object = await patience.wait(context.read())
        return body if isinstance(body, bytes) else await _no_message(context)
    except TimeoutError:
        return _TOO_LATE
    except asyncio.CancelledError:
        unread()
        raise


async def _no_message(context: Context) -> Reply:
    """grpc.aio reads a call that the core has refused as one without a message. A second read tells them apart: the
    core ends it only after it told of the refusal, which cancels us.
    """
    await context.read()
    await asyncio.sleep(0)
    return NO_REQUEST


def _at_end(context: Context, do: Callable[[], None]) -> None:
    context.add_done_callback(lambda _: do())  # type: ignore[arg-type]  # the stub names a class for a function


async def _finish(context: Context, reply: Reply) -> bytes | None:
    """Sends what a Reply holds; the body is grpc.aio's to send."""
    try:
        if reply.initial_metadata:
            await context.send_initial_metadata(reply.initial_metadata)
        if reply.code is not StatusCode.OK:
            await context.abort(reply.code, reply.details, reply.trailing_metadata)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError("the caller is gone") from None
    if reply.trailing_metadata:
        context.set_trailing_metadata(reply.trailing_metadata)
    return reply.body


class Listener:
    """The grpc.aio server at `address`: `host:port` (port 0: any free one) or `unix:/path`; in plaintext without
    `tls`.

    `routes` are the methods that the core answers, by path. `call_timeout` (seconds, 0: none) is the deadline of unary
    calls whose caller set none, uploads excepted. Made inside the event loop that serves.
    """

    def __init__(
        self,
        address: str,
        routes: Mapping[str, Handler],
        upstreams: Whereabouts,
        observer: ServerObserver,
        admission: Admission,
        *,
        limits: Limits = _DEFAULT_LIMITS,
        call_timeout: float = 60.0,
        tls: Leg | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._layers = Layers(observer, admission, limits)
        self._options = (*SERVER_OPTIONS, *limits.server_options)
        self._routes = Routes(routes, upstreams, self._layers, call_timeout or None)
        self._admission = admission
        self._health = Health()
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> int:
        """Opens the port and returns it (1 for a unix socket); StartError when it cannot be had."""
        handlers = [await self._health.handler(), *reflection_handlers(), self._routes]
        server = grpc.aio.server(handlers=handlers, options=self._options)
        try:
            if self._tls is None:
                port = server.add_insecure_port(self._address)
            else:
                port = server.add_secure_port(self._address, server_credentials(self._tls))
        except RuntimeError:
            raise StartError(
                f"LISTEN_ADDR: {self._address!r} cannot be listened on; accepted: a free port of an own address"
            ) from None
        await server.start()
        self._servers.append(server)
        self._address = re.sub(r":0\Z", f":{port}", self._address)
        self._layers.place = tracing.place(self._address)
        return port

    async def supervise(self, every: float = 1.0) -> None:
        """Until stopped: opens the port again when grpc.aio closed it on its own, looking each `every` seconds.

        Its accept loop ends on a path that is no UTF-8 (seen in grpcio 1.85), which any caller can send. Calls in
        progress go on at the closed server.
        """
        while True:
            try:
                if not await self._servers[-1].wait_for_termination(every):
                    return
            except Exception:  # noqa: BLE001 -- whatever ended the accept loop
                _log.exception("the listener at %s broke down and is opened again", self._address)
                await self.start()

    async def drain(self, idle: float = 2.0, *, at_most: float) -> None:
        """NOT_SERVING at once, yet serving on until no call came or went for `idle` seconds; then `stop()`.

        After `at_most` seconds in all, calls still in progress are cut.
        """
        await self._health.draining()
        try:
            async with asyncio.timeout(at_most):
                await self._admission.idle(idle)
                await self.stop(_LAST_CALLS)
        except TimeoutError:
            _log.warning(
                "calls still in progress after %g s (DRAIN_TIME) are cut: %d", at_most, self._admission.in_progress
            )
            await self.stop(None)

    async def stop(self, grace: float | None = None) -> None:
        """Closes the port; calls in progress are cut after `grace` seconds, None: at once."""
        await asyncio.gather(*(server.stop(grace) for server in self._servers))

    async def statistics(self) -> bytes:
        """None of its own: what there is to count, `layers` and `upstream` tell their observers."""
        return b""
