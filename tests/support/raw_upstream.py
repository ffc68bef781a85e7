"""`RawUpstream`: a gRPC server that a test scripts per method, in raw bytes; `Chain` puts the proxy in front of it.

Unlike `tests.support.servers.upstream` it uses no protobuf and serves any kind of method of any service.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from grpc import StatusCode

from proxy.calls.call import Call, Handler, Metadata, Reply
from proxy.policy.builtin.methods import LARGE, UNARY
from proxy.telemetry.callers import Use
from proxy.transport.admission import Admission
from proxy.transport.forward import unary_forwarder
from proxy.transport.limits import Limits
from proxy.transport.server import Listener
from proxy.transport.upstream import Upstream
from tests.support.media_methods import POLICY

Context = grpc.aio.ServicerContext[bytes, bytes]
Behaviour = Callable[["Seen", Context], Awaitable[None]]

BIG = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.absolute_max_metadata_size", 1 << 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.http2.bdp_probe", 0),  # what piles up between the two ends is the proxy's
)


@dataclass(slots=True)
class Seen:
    """One call as upstream saw it."""

    method: str
    metadata: Metadata
    time_remaining: float | None
    messages: list[bytes] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


async def requests(seen: Seen, context: Context) -> AsyncIterator[bytes]:
    """The caller's messages until its half-close, each noted."""
    message: object = await context.read()
    while isinstance(message, bytes):
        seen.messages.append(message)
        yield message
        message = await context.read()


async def echo(seen: Seen, context: Context) -> None:
    """Sends each message back at once; ends with the half-close."""
    async for message in requests(seen, context):
        await context.write(message)


class RawUpstream(grpc.GenericRpcHandler):
    """Answers a path as `behaviours` says, by default with `echo`."""

    def __init__(self) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.seen: list[Seen] = []
        self.port = 0
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, method: str) -> int:
        """How many calls of a method have arrived."""
        return sum(seen.method == method for seen in self.seen)

    async def start(self) -> None:
        """Starts, on the same port as before if it had one."""
        self._server = grpc.aio.server(handlers=[self], options=(*BIG, ("grpc.so_reuseport", 0)))
        self.port = self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Stops, and cuts calls in progress."""
        if self._server is not None:
            await self._server.stop(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        return grpc.stream_stream_rpc_method_handler(partial(self._serve, handler_call_details.method))

    async def _serve(self, method: str, _requests: object, context: Context) -> None:
        metadata: Metadata = tuple((key, value) for key, value in context.invocation_metadata() or ())
        seen = Seen(method, metadata, context.time_remaining())
        self.seen.append(seen)
        try:
            await self.behaviours.get(method, echo)(seen, context)
        except (asyncio.CancelledError, grpc.aio.InternalError):  # the latter: a message could not be sent any more
            seen.cancelled.set()
            raise asyncio.CancelledError from None


class Recorder:
    """Both observers; records what they are told, in order."""

    def __init__(self) -> None:
        self.server: list[tuple[str, StatusCode]] = []
        self.client: list[tuple[str, StatusCode]] = []
        self.refusals: list[tuple[str, str]] = []
        self.uses: dict[str, Callable[[], Use]] = {}
        self.seconds: list[float] = []

    def server_call(self, method: str, code: StatusCode, seconds: float) -> None:
        self.server.append((method, code))
        self.seconds.append(seconds)

    def refused(self, limit: str, details: str) -> None:
        self.refusals.append((limit, details))

    def limited(self, limit: str, use: Callable[[], Use]) -> None:
        self.uses[limit] = use

    def client_call(self, method: str, code: StatusCode, seconds: float) -> None:
        self.client.append((method, code))
        self.seconds.append(seconds)


@dataclass(slots=True, kw_only=True)
class Chain:
    """A caller's channel, the listener, the channel upstream and a `RawUpstream`, connected."""

    routes: Mapping[str, Handler] = field(default_factory=dict)
    call_timeout: float = 60.0
    admission: Admission = field(default_factory=lambda: Admission(100))
    limits: Limits = Limits(large_methods=LARGE)
    target: str = ""
    """The proxy's upstream address; empty means that of `raw`."""
    channel_options: tuple[tuple[str, Any], ...] = ()
    address: str = "127.0.0.1:0"
    recorder: Recorder = field(default_factory=Recorder)
    raw: RawUpstream = field(init=False)
    upstream: Upstream = field(init=False)
    listener: Listener = field(init=False)
    channel: grpc.aio.Channel = field(init=False)
    port: int = field(init=False)
    _stack: AsyncExitStack = field(init=False)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.raw = await stack.enter_async_context(RawUpstream())
            self.upstream = Upstream(self.target or self.raw.address, self.recorder)
            stack.push_async_callback(self.upstream.close)
            self.listener = Listener(
                self.address,
                {**dict.fromkeys(UNARY, unary_forwarder(self.upstream)), **self.routes},
                self.upstream,
                self.recorder,
                self.admission,
                limits=self.limits,
                call_timeout=self.call_timeout,
                described=POLICY.described,
            )
            self.port = await self.listener.start()
            stack.push_async_callback(self.listener.stop)
            self.channel = self.connect()
            stack.push_async_callback(self.channel.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def connect(self) -> grpc.aio.Channel:
        """Returns one more caller's channel, which the test closes."""
        address = self.address if self.address.startswith("unix:") else f"127.0.0.1:{self.port}"
        return grpc.aio.insecure_channel(address, options=(*BIG, *self.channel_options))

    def stream(
        self, method: str, metadata: Metadata = (), timeout: float | None = 30
    ) -> grpc.aio.StreamStreamCall[bytes, bytes]:
        """A call of any kind, in raw bytes."""
        return self.channel.stream_stream(method)(metadata=metadata, timeout=timeout)

    def unary(
        self, method: str, body: bytes = b"", metadata: Metadata = (), timeout: float | None = 30
    ) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        """A unary call, in raw bytes."""
        return unary(self.channel, method, body, metadata, timeout)


def unary(
    channel: grpc.aio.Channel, method: str, body: bytes = b"", metadata: Metadata = (), timeout: float | None = 30
) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
    """A unary call, in raw bytes."""
    method_of: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return method_of(body, metadata=metadata, timeout=timeout)


async def all_of(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> list[bytes]:
    """Returns every message; AioRpcError unless the status is OK."""
    return [message async for message in call]


class Held:
    """A handler whose calls wait for `release`; `ended` says how each ended."""

    def __init__(self) -> None:
        self.arrived = 0
        self.ended: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, call: Call) -> Reply:
        self.arrived += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("answered")
        return Reply(b"held")


def answers(reply: Reply, calls: list[Call] | None = None) -> Handler:
    """A handler that gives this answer, and records the calls."""

    async def handler(call: Call) -> Reply:
        if calls is not None:
            calls.append(call)
        return reply

    return handler


async def status_of(call: Awaitable[bytes]) -> tuple[StatusCode, str]:
    """Returns a call's code and details, whatever they are."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return StatusCode.OK, ""
