"""One caller's bytes take nobody else's place: stalled readers, waiting uploads, passed deadlines; each transport.

The other caller's calls are hits, forwarded ones and streams; within one channel, as a gateway has it, too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import pytest
from grpc import StatusCode

from tests.abuse.attack import INITIAL_WINDOW, LARGEST_WINDOW, WIDEST, attacker, fields
from tests.support.raw_http2 import END_STREAM, WINDOW_UPDATE, frame, headers, message
from tests.support.raw_media import RawMedia, unanswered
from tests.support.raw_upstream import BIG, Context, RawUpstream, Seen, requests, status_of, unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

READ, UPLOAD = "/media.MediaService/GetFilesByModel", "/media.MediaService/UploadFile"
FORWARDED, STREAM = "/media.MediaService/GetFileURL", "/any.Service/Echo"
OTHERS = (READ, FORWARDED, STREAM)
LARGE, POUR, HANG = "/media.MediaService/GetAllMedia", "/any.Service/Pour", "/any.Service/Hang"

pytestmark = pytest.mark.usefixtures("each_transport")


async def large(seen: Seen, context: Context) -> None:
    async for _ in requests(seen, context):
        await context.write(bytes(200_000))


async def pour(seen: Seen, context: Context) -> None:
    while True:
        await context.write(bytes(64 << 10))


async def hang(_seen: Seen, _context: Context) -> None:
    await asyncio.Event().wait()


async def swallow(seen: Seen, context: Context) -> None:
    async for _ in requests(seen, context):
        pass
    await context.write(b"stored")


BEHAVIOURS = {LARGE: large, POUR: pour, HANG: hang, UPLOAD: swallow}


@asynccontextmanager
async def proxied(**settings: str) -> AsyncIterator[tuple[RawUpstream, ProxyProcess, grpc.aio.Channel]]:
    async with RawUpstream() as upstream:
        upstream.behaviours = dict(BEHAVIOURS)
        async with ProxyProcess(MEDIA_SERVICE_ADDR=upstream.address, **settings) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as channel:
                yield upstream, proxy, channel


def stream(channel: grpc.aio.Channel, method: str) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    method_of: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
    return method_of(timeout=120)


async def served(channel: grpc.aio.Channel) -> None:
    for method in OTHERS:
        assert await status_of(unary(channel, method, b"\x0a\x04User", timeout=10)) == (StatusCode.OK, ""), method


@pytest.mark.parametrize(("method", "calls"), [(LARGE, 30), (POUR, 30)])
async def test_answers_that_a_caller_does_not_read_hold_up_no_other_caller(method: str, calls: int) -> None:
    async with proxied() as (upstream, proxy, channel), attacker(proxy.listen_port, (INITIAL_WINDOW, 0)) as one:
        for stream in range(1, 2 * calls, 2):
            await one.send(headers(stream, fields(method)) + message(stream, b"asked", END_STREAM))
        await until(lambda: upstream.count(method) == calls, "all to be upstream")
        await served(channel)


async def test_stalled_readers_of_streams_hold_up_no_other_call_of_their_channel() -> None:
    async with proxied() as (_, _, channel):
        stalled = [stream(channel, POUR) for _ in range(30)]
        for call in stalled:
            await call.read()
        await served(channel)
        for call in stalled:
            call.cancel()


async def test_as_many_unread_answers_as_a_connection_may_have_but_one_leave_room_for_that_one() -> None:
    """The window of a connection holds all of theirs, and what the peer has not been told yet that is free again."""
    async with proxied() as (upstream, proxy, _), attacker(proxy.listen_port, (INITIAL_WINDOW, 0)) as one:
        await one.send(WIDEST)
        for stream in range(1, 2 * 249, 2):
            await one.send(headers(stream, fields(POUR)) + message(stream, b"asked", END_STREAM))
        await until(lambda: upstream.count(POUR) == 249, "all to be upstream")
        for stream in range(501, 601, 2):
            window = frame(WINDOW_UPDATE, 0, stream, (1 << 20).to_bytes(4))
            await one.send(headers(stream, fields(STREAM)) + window + message(stream, bytes(16_000), END_STREAM))
            await until(lambda stream=stream: stream in one.answered, "its answer", 10)  # type: ignore[misc]


async def test_a_caller_that_reads_nothing_from_its_socket_holds_up_nobody() -> None:
    async with proxied() as (upstream, proxy, channel), AsyncExitStack() as stack:
        for _ in range(10):
            deaf = await stack.enter_async_context(
                attacker(proxy.listen_port, (INITIAL_WINDOW, LARGEST_WINDOW), deaf=True)
            )
            begun = [headers(stream, fields(POUR)) + message(stream, b"begin", END_STREAM) for stream in (1, 3, 5)]
            await deaf.send(WIDEST + b"".join(begun))
        await until(lambda: upstream.count(POUR) == 30, "all to be upstream")
        await served(channel)


@pytest.mark.parametrize("count", [25, 60])
async def test_uploads_at_once_on_one_channel_hold_up_neither_each_other_nor_hits(count: int) -> None:
    async with proxied() as (_, _, channel):
        uploads = [asyncio.ensure_future(status_of(unary(channel, UPLOAD, bytes(200_000)))) for _ in range(count)]
        await served(channel)
        assert await asyncio.gather(*uploads) == [(StatusCode.OK, "")] * count


async def test_calls_that_end_by_their_callers_deadline_do_not_take_the_others_along(transport: str) -> None:
    async with proxied() as (_, proxy, channel):
        lasting = stream(channel, STREAM)
        await lasting.write(b"1")
        assert await lasting.read() == b"1"

        async def hurried() -> None:
            for _ in range(40):
                code, said = await status_of(unary(channel, HANG, b"", timeout=0.05))
                assert code is StatusCode.DEADLINE_EXCEEDED, said

        await asyncio.gather(*(hurried() for _ in range(40)))
        await lasting.write(b"2")
        assert await lasting.read() == b"2"
        await served(channel)
        lasting.cancel()
        if transport == "envoy":
            assert await proxy.metric("envoy_listener_downstream_cx_total") == 1


async def test_an_upstream_that_takes_no_more_of_one_caller_takes_all_of_others(transport: str) -> None:
    """Its window for a connection is not opened again by what one caller sent. gRPC's core has one connection."""
    if transport == "grpcio":
        return
    async with RawMedia(*[unanswered] * 1, windows=False).serving() as media:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=f"127.0.0.1:{media.port}") as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as stuck:
                held = asyncio.ensure_future(status_of(unary(stuck, STREAM, bytes(100_000), timeout=60)))
                await until(lambda: media.taken >= 65_535, "its window to be full")
                for _ in range(6):  # of which Envoy's threads have some each
                    async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as other:
                        assert await status_of(unary(other, STREAM, b"asked", timeout=10)) == (StatusCode.OK, "")
                held.cancel()
        assert len({connection for connection, _ in media.calls}) == 7


async def test_a_flood_of_one_caller_on_a_forwarded_method(transport: str) -> None:
    """Envoy keeps no places back for others: a flood takes all of its kind, and neither hits' nor streams'."""
    async with proxied(MAX_CONCURRENT_CALLS="20") as (upstream, proxy, flooding):
        upstream.behaviours[LARGE] = hang
        flood = [asyncio.create_task(status_of(unary(flooding, LARGE, timeout=120))) for _ in range(20)]
        kept_back = 1 if transport == "grpcio" else 0
        await until(lambda: upstream.count(LARGE) == 20 - kept_back, "the flood upstream")
        async with grpc.aio.insecure_channel(
            proxy.addr, options=(*BIG, ("grpc.use_local_subchannel_pool", 1))
        ) as other:
            for method in (READ, STREAM):
                assert await status_of(unary(other, method, b"\x0a\x04User", timeout=10)) == (StatusCode.OK, ""), method
            code, _ = await status_of(unary(other, FORWARDED, timeout=10))
            assert code is (StatusCode.OK if kept_back else StatusCode.RESOURCE_EXHAUSTED)
        for each in flood:
            each.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
