"""The media service frozen, resetting calls, sending what is no gRPC: callers have a status at once, nothing is stored.

Killed and away are in `test_degradation.py`, answers that are half right in `test_upstream.py`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from grpc import StatusCode

from tests.support.calling import Gateway
from tests.support.raw_http2 import ACK, DATA, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame, frames
from tests.support.servers.children import Child, free_port
from tests.support.servers.process import ROOT, ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.streams import StreamServer
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_PREFACE_BYTES = 24
QUICK = 5.0
"""Seconds; without a deadline of the caller's, and without ours of 60 s."""


async def _status(gateway: Gateway, model_id: int, timeout: float | None = None) -> StatusCode:
    try:
        await gateway.read(model_id=model_id, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


async def _answers_again(gateway: Gateway, model_id: int) -> None:
    async def ok() -> bool:
        return await _status(gateway, model_id, timeout=2.0) is StatusCode.OK

    await until(ok, "upstream to be asked again", 10)


async def test_frozen_it_costs_callers_their_deadline_and_hits_nothing(redis: RedisServer) -> None:
    """SIGSTOP: its connections stay open and nothing comes."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment |= {"RABBITMQ_ADDR": "", "LISTEN_ADDR": f"127.0.0.1:{port}"}
    async with ProxyProcess(
        REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=f"127.0.0.1:{port}", CACHE_TTL="2s", CALL_TIMEOUT="3s"
    ) as proxy:
        command = [sys.executable, "-m", "examples.media_service"]
        service = Child("the media service", command, proxy.directory / "service", environment)
        service.spawn()
        try:
            async with Gateway(proxy.addr) as gateway:
                await until(lambda: "ready" in service.stdout, "the media service")
                await _answers_again(gateway, 1)
                await gateway.read(metadata=(("cache-control", "no-cache"),))
                service.freeze()
                assert await gateway.x_cache(1) == "hit"
                assert await _status(gateway, 2, timeout=0.5) is StatusCode.DEADLINE_EXCEEDED
                assert await _status(gateway, 3) is StatusCode.DEADLINE_EXCEEDED  # our own, where the caller has none

                async def stale() -> bool:  # in time for the caller, once the entry has run out
                    return (await gateway.read(model_id=1, timeout=5.0)).x_cache == "stale"

                await until(stale, "a stale answer", 20)
                service.thaw()
                await _answers_again(gateway, 4)
                assert (await proxy.probe("/readyz"))[0] == 200
        finally:
            service.kill()


class Broken:
    """A server that speaks HTTP/2 just as far as told: `answer` makes of a call's stream number what it sends."""

    def __init__(self, answer: Callable[[int], bytes], greeting: bytes = frame(SETTINGS, 0, 0)) -> None:
        self._answer = answer
        self._greeting = greeting
        self.calls = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Broken"]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readexactly(_PREFACE_BYTES)
                writer.write(self._greeting)
                async for received in frames(reader):
                    if received.kind in {SETTINGS, PING} and not received.flags & ACK:
                        payload = received.payload if received.kind == PING else b""
                        writer.write(frame(received.kind, ACK, 0, payload))
                    if received.kind == DATA and received.stream:
                        self.calls += 1
                        writer.write(self._answer(received.stream))
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the other side has had enough
            finally:
                writer.close()

        async with StreamServer(serve) as server:
            self.port = server.port
            yield self


_OK_HEADERS = b"\x88" + b"\x00\x0ccontent-type\x10application/grpc"


def _reset(code: int) -> Callable[[int], bytes]:
    return lambda stream: frame(RST_STREAM, 0, stream, code.to_bytes(4))


def _headers_then(tail: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda stream: frame(HEADERS, END_HEADERS, stream, _OK_HEADERS) + tail(stream)


BROKEN = {
    "resets with INTERNAL_ERROR": Broken(_reset(2)),
    "refuses streams": Broken(_reset(7)),
    "resets with CANCEL": Broken(_reset(8)),
    "resets with ENHANCE_YOUR_CALM": Broken(_reset(11)),
    "resets after its headers": Broken(_headers_then(_reset(2))),
    "resets in the middle of a message": Broken(
        _headers_then(lambda stream: frame(DATA, 0, stream, b"\x00\x00\x00\x01\x00half") + _reset(2)(stream))
    ),
    "a message longer than it says": Broken(
        _headers_then(lambda stream: frame(DATA, 1, stream, b"\x00\xff\xff\xff\xff" + b"x" * 100))
    ),
    "compressed though nobody said how": Broken(
        _headers_then(lambda stream: frame(DATA, 1, stream, b"\x01\x00\x00\x00\x01x"))
    ),
    "headers that are no HPACK": Broken(lambda stream: frame(HEADERS, END_HEADERS, stream, b"\xff" * 50)),
    "goes away": Broken(lambda stream: frame(GOAWAY, 0, 0, bytes(8))),
    "a page of HTTP": Broken(lambda _: b"", greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n<html>"),
    "noise": Broken(lambda _: b"", greeting=bytes(range(256)) * 16),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_is_no_answer_is_a_status_at_once_and_never_stored(redis: RedisServer, kind: str) -> None:
    async with BROKEN[kind].serving() as broken, FakeMediaServer() as good, FaultyTcp(good.port) as way:
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=way.addr) as proxy:
            async with Gateway(proxy.addr) as gateway:
                assert await gateway.x_cache(1) == "miss"
                await gateway.hits(1)
                way.target = ("127.0.0.1", broken.port)
                way.cut()
                loop = asyncio.get_running_loop()
                for number in (2, 3, 2):
                    begun = loop.time()
                    code = await _status(gateway, number)
                    assert code not in {StatusCode.OK, StatusCode.DEADLINE_EXCEEDED}, code
                    assert loop.time() - begun < QUICK
                assert await gateway.x_cache(1) == "hit"
                way.target = ("127.0.0.1", good.port)
                way.cut()
                await _answers_again(gateway, 2)
                assert await gateway.x_cache(3) == "miss"
                await gateway.hits(2, 3)
                assert proxy.child.running


async def test_a_message_that_says_nothing_passes_and_is_not_stored(redis: RedisServer) -> None:
    """gRPC OK with bytes that are no GetFilesByModelResponse: they are the service's answer, to this caller alone."""
    garbage = b"\x00\x00\x00\x00\x02\xff\xff"
    trailers = b"\x00\x0bgrpc-status\x010"
    answer = _headers_then(
        lambda stream: frame(DATA, 0, stream, garbage) + frame(HEADERS, END_HEADERS | 1, stream, trailers)
    )
    async with Broken(answer).serving() as broken:
        async with ProxyProcess(REDIS_ADDR=redis.addr, MEDIA_SERVICE_ADDR=f"127.0.0.1:{broken.port}") as proxy:
            async with grpc.aio.insecure_channel(proxy.addr) as channel:
                read: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                    "/media.MediaService/GetFilesByModel"
                )
                assert [await read(b"", timeout=10) for _ in range(2)] == [b"\xff\xff"] * 2
            assert broken.calls == 2
