"""A call reaches its handler with the metadata that grpc.aio has read."""

from collections.abc import AsyncIterator
from typing import Any, cast

import grpc.aio
import pytest

from proxy.calls.call import Metadata
from proxy.transport.call_handler import CallHandler, Context

UNARY, STREAM = "/any.Service/Unary", "/any.Service/Stream"


class Service(grpc.GenericRpcHandler):
    """Answers with the value of `name` in the caller's metadata."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        stream = handler_call_details.method == STREAM
        metadata = handler_call_details.invocation_metadata or ()
        handler = CallHandler(_stream if stream else _unary, metadata, stream=stream)
        return cast("grpc.RpcMethodHandler[Any, Any]", handler)


async def _unary(metadata: Metadata, _requests: object, context: Context) -> bytes:
    request: bytes = await context.read()
    return request + b" to " + str(dict(metadata)["name"]).encode()


async def _stream(metadata: Metadata, _requests: object, context: Context) -> None:
    while isinstance(request := await context.read(), bytes):
        await context.write(request + b" to " + str(dict(metadata)["name"]).encode())


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(handlers=[Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def test_calls_of_one_message_have_each_their_own(channel: grpc.aio.Channel) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(UNARY)
    assert await call(b"hello", metadata=(("name", "a"),)) == b"hello to a"
    assert await call(b"hello", metadata=(("name", "b"),)) == b"hello to b"


async def test_so_have_calls_of_many_messages(channel: grpc.aio.Channel) -> None:
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(STREAM)
    answers = call(iter((b"one", b"two")), metadata=(("name", "a"),))
    assert [answer async for answer in answers] == [b"one to a", b"two to a"]
