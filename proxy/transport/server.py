"""`Listener`: the gRPC server that callers connect to. It selects a handler by method and sends what that answers.

A call passes these layers, outermost first:

1. Health and reflection (`introspection`) are answered for the proxy itself. They are neither counted nor limited, so
   that probes work under load and a health watcher does not delay draining.
2. Path: anything but `/service/method` is UNIMPLEMENTED at once.
3. Observer and span, limits, failures: `layers` explains this order.
4. Routes: methods that the core answers, other methods that the policy's descriptors declare as unary, and everything
   else as a stream of bytes.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, cast

import grpc
import grpc.aio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import StatusCode

from proxy.calls.call import Handler, Metadata, Reply
from proxy.errors import StartError, cannot_listen
from proxy.telemetry import span_names
from proxy.telemetry.callers import Use
from proxy.tls import Leg
from proxy.transport.admission import Admission
from proxy.transport.call_handler import Answer, CallHandler
from proxy.transport.channel_options import SERVER_OPTIONS
from proxy.transport.connections import Connections, established
from proxy.transport.credentials import server_credentials
from proxy.transport.draining import last_part
from proxy.transport.fast_path import FastPath, Hits, SlowPath
from proxy.transport.forward import Context, forward_stream
from proxy.transport.introspection import Health, Reflection
from proxy.transport.layers import Layers, Progress, ServerObserver
from proxy.transport.limits import Limits, clamped
from proxy.transport.read_timeout import ReadTimeout
from proxy.transport.requests import read_again, read_message
from proxy.transport.upstreams import UpstreamResolver

_log = logging.getLogger(__name__)

_PATH = re.compile(r"/[!-.0-~]+/[!-.0-~]+")
_LAST_CALLS = 0.5
"""Seconds for calls that arrive between the end of the idle wait and the closing of the port."""
_DEFAULT_LIMITS = Limits()

_Work = Callable[[Context, Metadata], Awaitable[Reply]]
"""Answers one call with this metadata: reads its requests, may send messages, and returns what remains to be sent."""


class Served(Protocol):
    """What a policy determines about calls; see `proxy.served`."""

    @property
    def routes(self) -> dict[str, Handler]: ...
    @property
    def upstreams(self) -> UpstreamResolver: ...
    @property
    def hits(self) -> Iterable[Hits]: ...
    @property
    def large_methods(self) -> frozenset[str]: ...
    @property
    def described(self) -> Mapping[str, DescriptorPool]: ...


class Routes(grpc.GenericRpcHandler):
    """Layers 2 and 4, for every server that a `Listener` opens. It is created inside the event loop."""

    def __init__(
        self,
        routes: Mapping[str, Handler],
        upstreams: UpstreamResolver,
        layers: Layers,
        call_timeout: float | None,
        fast: tuple[Iterable[Hits], Admission],
    ) -> None:
        self._layers = layers
        self._call_timeout = call_timeout
        self._read_timeout = ReadTimeout(call_timeout) if call_timeout else None
        every, self._admission = fast
        self.take_up(routes, upstreams, every)

    def take_up(self, routes: Mapping[str, Handler], upstreams: UpstreamResolver, every: Iterable[Hits]) -> None:
        """Uses these for calls that begin from now on."""
        unary: dict[str, Answer] = {method: self._slow_path(method, handler) for method, handler in routes.items()}
        for hits in every:
            slow_path = self._slow_path(hits.method, routes[hits.method])
            fast = FastPath(hits, self._admission, self._layers.unread, self._read_timeout, slow_path)
            unary[hits.method] = partial(FastPath.serve, fast)
        self._unary, self._upstreams = unary, upstreams

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a method; grpc.aio answers None with UNIMPLEMENTED."""
        method = handler_call_details.method
        metadata: Metadata = handler_call_details.invocation_metadata or ()
        if known := self._unary.get(method):
            handler = CallHandler(known, metadata)
        elif _PATH.fullmatch(method):
            work = partial(forward_stream, self._upstreams.of(method), self._layers.large, method)
            handler = CallHandler(partial(Routes._serve, self, method, work), metadata, stream=True)
        else:
            return None
        return cast("grpc.RpcMethodHandler[Any, Any]", handler)

    def _slow_path(self, method: str, handler: Handler) -> SlowPath:
        """The answer to calls of a unary method, on the slow path."""
        limit = None if method in self._layers.large_methods else self._call_timeout

        def work(progress: Progress | None, context: Context, metadata: Metadata) -> Awaitable[Reply]:
            remaining = clamped(context.time_remaining())
            read_timeout = self._read_timeout if remaining is None else None  # otherwise gRPC's core ends the call
            left = limit if remaining is None else remaining
            if progress is not None and progress.body is not None:
                return self._layers.unary(
                    method, handler, metadata, left, partial(read_again, progress), progress.looked
                )
            read = partial(read_message, context, self._layers.unread, read_timeout)
            return self._layers.unary(method, handler, metadata, left, read)

        async def serve(
            metadata: Metadata, requests: object, context: Context, progress: Progress | None = None
        ) -> bytes | None:
            return await self._serve(method, partial(work, progress), metadata, requests, context, progress)

        return serve

    async def _serve(
        self,
        method: str,
        work: _Work,
        metadata: Metadata,
        _requests: object,
        context: Context,
        progress: Progress | None = None,
    ) -> bytes | None:
        """Answers one call. It is cancelled when the caller goes away or the deadline passes."""
        return await self._layers.serve(
            method,
            metadata,
            partial(work, context, metadata),
            partial(_finish, context),
            context.peer,
            partial(_at_end, context),
            progress,
        )


def _at_end(context: Context, do: Callable[[], None]) -> None:
    context.add_done_callback(lambda _: do())  # type: ignore[arg-type]  # the stub names a class for a function


async def _finish(context: Context, reply: Reply) -> bytes | None:
    """Sends everything of a Reply but its body, which is returned for grpc.aio to send."""
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
    """The grpc.aio server at `address`: `host:port` (port 0 means any free port) or `unix:/path`, in plaintext without
    `tls`. It is created inside the event loop that serves.

    `routes` maps the paths of the methods that the core answers. `call_timeout` (seconds; 0 means none) is the deadline
    of unary calls whose caller set none, except for large methods. `hits` are the fast paths of their methods.
    """

    def __init__(  # noqa: PLR0913 -- what it is made of
        self,
        address: str,
        routes: Mapping[str, Handler],
        upstreams: UpstreamResolver,
        observer: ServerObserver,
        admission: Admission,
        *,
        limits: Limits = _DEFAULT_LIMITS,
        call_timeout: float = 60.0,
        tls: Leg | None = None,
        hits: Iterable[Hits] = (),
        described: Mapping[str, DescriptorPool] | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._layers = Layers(observer, admission, limits)
        self._options = (*SERVER_OPTIONS, *limits.server_options)
        self._port = 0
        self._connections = Connections(limits.connections, lambda: established(self._port))
        if not address.startswith("unix:"):  # connections to a Unix socket cannot be counted
            observer.limited("MAX_CONNECTIONS", lambda: Use(self._connections.now, limits.connections))
        self._routes = Routes(routes, upstreams, self._layers, call_timeout or None, (hits, admission))
        self._admission = admission
        self._reflection, self._health = Reflection(described or {}), Health(described or {})
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> int:
        """Opens the port and returns it (1 for a Unix socket). StartError if it cannot be opened."""
        handlers = [await self._health.handler(), *self._reflection.handlers(), self._routes]
        server = grpc.aio.server(handlers=handlers, options=self._options)
        try:
            if self._tls is None:
                port = server.add_insecure_port(self._address)
            else:
                port = server.add_secure_port(self._address, server_credentials(self._tls))
        except RuntimeError:
            raise StartError(cannot_listen(self._address)) from None
        await server.start()
        self._servers.append(server)
        self._port = port
        self._address = re.sub(r":0\Z", f":{port}", self._address)
        self._layers.place = span_names.place(self._address)
        return port

    async def supervise(self, every: float = 1.0) -> None:
        """Until stopped, keeps the port open, checking every `every` seconds, and logs when there are too many
        connections."""
        watching = asyncio.create_task(self._connections.watch(), name="connections")
        try:
            await self._keep_open(every)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _keep_open(self, every: float) -> None:
        """Reopens the port when grpc.aio has closed it by itself.

        Its accept loop ends at a path that is not UTF-8 (seen in grpcio 1.85), which any caller can send. Calls in
        progress continue on the closed server.
        """
        while True:
            try:
                if not await self._servers[-1].wait_for_termination(every):
                    return
            except Exception:  # noqa: BLE001 -- whatever ended the accept loop
                _log.exception("the listener at %s stopped accepting and is being reopened", self._address)
                await self.start()

    async def take_up(self, served: Served) -> Iterable[str]:
        """Uses another policy for calls that begin from now on. Returns what takes effect only at the next start:
        nothing.
        """
        self._layers.large_methods = served.large_methods
        self._routes.take_up(served.routes, served.upstreams, served.hits)
        self._reflection.take_up(served.described)
        await self._health.take_up(served.described)
        return ()

    async def drain(self, idle: float = 2.0, *, at_most: float) -> None:
        """Reports NOT_SERVING at once, but serves on until no call has begun or ended for `idle` seconds, or until most
        of the time is over. Then it sends GOAWAY and closes the port.

        After `at_most` seconds in total, calls still in progress are cut. GOAWAY does not come first, because gRPC's
        core sends it only to shut down, and then cancels calls that had not seen it (measured: one call of every
        fourth busy caller).
        """
        await self._health.draining()
        last = last_part(at_most)
        try:
            async with asyncio.timeout(at_most - last):
                await self._admission.idle(idle)
            await self.stop(_LAST_CALLS)
        except TimeoutError:
            await self._stop_busy(last, at_most)

    async def _stop_busy(self, last: float, at_most: float) -> None:
        stopping = asyncio.create_task(self.stop(last), name="stop")
        try:
            async with asyncio.timeout(last):
                await asyncio.shield(stopping)
        except TimeoutError:
            _log.warning(
                "calls still in progress after %g s (DRAIN_TIME) are cut: %d", at_most, self._admission.in_progress
            )
        await stopping

    async def stop(self, grace: float | None = None) -> None:
        """Closes the port. Calls in progress are cut after `grace` seconds; None cuts them at once."""
        await asyncio.gather(*(server.stop(grace) for server in self._servers))

    async def statistics(self) -> bytes:
        """Empty: `layers` and `upstream` report everything that is counted to their observers."""
        return b""
