"""Minimal servers on grpc.aio: what a proxy costs beyond them is its own cost.

    python -m bench.floors PORT echo             fixed bytes
    python -m bench.floors PORT look REDIS       the value of one key, by one HGET on a shared connection
    python -m bench.floors PORT shape REDIS      the same in a hit's shape: the call begins before its request is read,
                                                 so that it could be refused, and has two trailers
    python -m bench.floors PORT pass UPSTREAM    upstream's answer, headers included, by one unary call on a single
                                                 channel

They run on uvloop with the proxy's channel options, like the proxy. They parse, check and count nothing, and handle no
limits, deadlines or failures.
"""

import argparse
import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import hiredis
import uvloop

from bench import messages
from bench.serving import serve
from proxy.pb import media_pb2 as pb
from proxy.transport.channel_options import CLIENT_OPTIONS

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[bytes, Context], Awaitable[bytes]]

_OF_ONE_MESSAGE = ("content-length", "trailer")
"""Headers that nghttpd adds to its responses, and that gRPC's core refuses to send."""

KEY, FIELD = b"bench:floor", b"answer"
"""The key and field from which `look` answers."""


def answer() -> bytes:
    """The answer to a read."""
    return messages.answer(pb.GetFilesByModelRequest.FromString(messages.read())).SerializeToString()


class _Redis(asyncio.Protocol):
    """One connection for all calls; commands are written at once, and replies come in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, *command: bytes) -> asyncio.Future[bytes]:
        """Returns the reply once it has arrived."""
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._asked.append(reply)
        self._transport.write(hiredis.pack_command(command))
        return reply

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiting = self._asked.popleft()
            if not waiting.done():
                waiting.set_result(reply)


async def _echo() -> Answer:
    fixed = answer()

    async def echo(_: bytes, __: Context) -> bytes:
        return fixed

    return echo


async def _look(address: str) -> Answer:
    host, _, port = address.rpartition(":")
    _, redis = await asyncio.get_running_loop().create_connection(_Redis, host, int(port))
    await redis.ask(b"HSET", KEY, FIELD, answer())

    async def look(_: bytes, __: Context) -> bytes:
        return await redis.ask(b"HGET", KEY, FIELD)

    return look


async def _shape(address: str) -> Answer:
    look = await _look(address)

    async def shape(_: bytes, context: Context) -> bytes:
        request: bytes = await context.read()
        answered = await look(request, context)
        context.set_trailing_metadata((("x-cache", "hit"), ("age", "12")))
        return answered

    return shape


async def _pass(address: str, method: str) -> Answer:
    channel = grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS)
    upstream: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)

    async def forward(request: bytes, context: Context) -> bytes:
        call = upstream(request)
        headers = await call.initial_metadata()
        await context.send_initial_metadata(tuple(each for each in headers if each[0] not in _OF_ONE_MESSAGE))
        return await call

    return forward


class _Service(grpc.GenericRpcHandler):
    """Handles a single method."""

    def __init__(self, method: str, do: Answer, *, reads: bool = False) -> None:
        kind: Any = grpc.stream_unary_rpc_method_handler if reads else grpc.unary_unary_rpc_method_handler
        self._method = method
        self._handler: grpc.RpcMethodHandler[bytes, bytes] = kind(do)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handler if handler_call_details.method == self._method else None


async def _serve(port: int, kind: str, address: str) -> None:
    if kind == "pass":
        service = _Service(messages.FORWARDED, await _pass(address, messages.FORWARDED))
    elif kind == "shape":
        service = _Service(messages.READ, await _shape(address), reads=True)
    else:
        service = _Service(messages.READ, await (_look(address) if kind == "look" else _echo()))
    await serve(port, [service])


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=("echo", "look", "shape", "pass"))
    parser.add_argument("address", nargs="?", default="", help="of Redis or of upstream")
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.kind, given.address))


if __name__ == "__main__":
    main()
