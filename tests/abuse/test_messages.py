"""Abuse by messages and metadata: too many, too large, compressed, not read, and with false lengths."""

import asyncio
import zlib
from contextlib import AsyncExitStack

import grpc.aio
from grpc import StatusCode

from tests.abuse.attack import (
    INITIAL_WINDOW,
    LARGEST_WINDOW,
    REMEMBERED,
    WIDEST,
    attacker,
    fields,
    header_frames,
    literal,
)
from tests.abuse.caller import request
from tests.abuse.scene import Scene
from tests.support.raw_http2 import DATA, END_STREAM, frame, headers, message
from tests.support.raw_upstream import BIG
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

SIZE = 4 << 20
FILES, FORWARDED = "/media.MediaService/GetFilesByModel", "/media.MediaService/GetFileURL"
EXHAUSTED, UNIMPLEMENTED = b"grpc-status\x018", b"grpc-status\x0212"  # as HPACK literals


def block(path: str, *more: tuple[bytes, bytes]) -> bytes:
    return b"".join(literal(key, value) for key, value in fields(path, *more))


async def test_50_stalled_readers_of_large_streams(redis: RedisServer) -> None:
    """Half of them open no window beyond the first 64 KiB; the others open all windows but never read their socket."""
    begin = headers(1, fields("/abuse.Service/Pour")) + message(1, b"begin", END_STREAM)
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        for _ in range(25):
            closed = await stack.enter_async_context(attacker(scene.port))
            await closed.send(begin)
            deaf = await stack.enter_async_context(attacker(scene.port, (INITIAL_WINDOW, LARGEST_WINDOW), deaf=True))
            await deaf.send(WIDEST + begin)
        await scene.poured(50)
        await scene.called("forwarded")
    figures.check(most_mib=160 if scene.holds_windows else 200)


async def test_answers_that_nobody_reads(redis: RedisServer) -> None:
    """The defences: a call keeps its place until its answer was read, and MAX_BYTES_IN_FLIGHT. The calls are not made
    all at once, because messages that are still arriving from upstream do not count yet.
    """
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        attacking = [await stack.enter_async_context(attacker(scene.port, (INITIAL_WINDOW, 0))) for _ in range(4)]
        for stream in range(1, 2 * 200, 2):
            for one in attacking:
                asked = message(stream, b"1 MiB", END_STREAM)
                await one.send(headers(stream, fields("/media.MediaService/GetAllMedia")) + asked)
            if stream % 20 == 19 and not scene.holds_windows:
                await scene.all_held(1 << 20, 4 * (stream + 1) // 2, lambda: sum(one.ended for one in attacking))
            elif stream % 20 == 19:
                await scene.called("hit")
        if not scene.holds_windows:
            assert sum(one.ended for one in attacking) == 800 - 128
        await scene.called("forwarded")
        assert all(one.said(EXHAUSTED) == one.ended for one in attacking)
    figures.check(most_mib=600)


async def test_large_messages_that_are_held(redis: RedisServer) -> None:
    """The defence is MAX_BYTES_IN_FLIGHT. The calls are made five at a time, because messages that are still arriving
    do not count yet.

    A held message of 4 MiB takes twice that, once in Python and once as a copy on its way upstream; one that is
    arriving takes up to four times that. The sum is 32 * 8 + 5 * 16 MiB, and the 80 to 110 MiB of a busy proxy; on
    Envoy each takes one window.
    """

    async def hold(channel: grpc.aio.Channel) -> None:
        calls = list[grpc.aio.StreamStreamCall[bytes, bytes]]()
        writing = list[asyncio.Task[None]]()
        while len(calls) < 100:
            for _ in range(5):
                calls.append(channel.stream_stream("/abuse.Service/Hold")())
                writing.append(asyncio.ensure_future(calls[-1].write(bytes(SIZE))))
            if scene.holds_windows:
                await scene.called("hit")
            else:
                await scene.all_held(SIZE, len(calls), lambda: sum(each.done() for each in calls))
        if not scene.holds_windows:
            assert {await each.code() for each in calls if each.done()} == {StatusCode.RESOURCE_EXHAUSTED}
            assert sum(each.done() for each in calls) == 100 - 128 // 4
        await scene.called("forwarded")
        for each in calls:
            each.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

    async with Scene(redis.addr) as scene, scene.abused() as figures:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{scene.port}", options=BIG) as channel:
            await hold(channel)
        del channel
    figures.check(most_mib=600)


async def test_requests_with_1_000_headers(redis: RedisServer) -> None:
    """The defences are the limit on entries and, for larger ones, MAX_METADATA_BYTES."""
    small = block(FORWARDED, *((b"h%d" % number, b"v") for number in range(1000)))
    large = block(FORWARDED, *((b"h%d" % number, b"v" * 100) for number in range(1000)))
    async with Scene(redis.addr) as scene, scene.abused() as figures:
        async with attacker(scene.port) as attacking:
            for stream in range(1, 2 * 100, 2):
                await attacking.send(header_frames(stream, small if stream % 4 == 1 else large, END_STREAM))
            await until(lambda: attacking.ended + attacking.reset == 100, "all to be answered, or reset")
            assert attacking.said(EXHAUSTED) == attacking.ended
    figures.check(most_mib=180)


async def test_headers_that_are_one_byte_each_on_the_wire(redis: RedisServer) -> None:
    """A value of 4 kB is sent 250 times by its HPACK index: 250 bytes make 1 MB. The defence is MAX_METADATA_BYTES."""
    once = literal(b"x", b"v" * 4000, remembered=True)
    async with Scene(redis.addr) as scene, scene.abused() as figures:
        async with attacker(scene.port) as attacking:
            for stream in range(1, 2 * 200, 2):
                repeated = (once if stream == 1 else REMEMBERED) + REMEMBERED * 249
                await attacking.send(header_frames(stream, block("/abuse.Service/Hold") + repeated))
            await until(lambda: attacking.ended + attacking.reset == 200, "all to be answered, or reset")
            assert attacking.said(EXHAUSTED) == attacking.ended
    figures.check(most_mib=180)


async def test_gzip_bombs(redis: RedisServer) -> None:
    """60 MiB in 60 kB, 20 times. The defence is ACCEPT_COMPRESSED=off."""
    packed = zlib.compress(bytes(60 << 20), 9, wbits=31)
    data = b"\x01" + len(packed).to_bytes(4) + packed
    assert len(data) < 65_535  # so it fits the window
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        attacking = [await stack.enter_async_context(attacker(scene.port)) for _ in range(20)]
        for one in attacking:
            await one.send(headers(1, fields(FILES, (b"grpc-encoding", b"gzip"))))
            for at in range(0, len(data), 16_000):
                end = END_STREAM if at + 16_000 >= len(data) else 0
                await one.send(frame(DATA, end, 1, data[at : at + 16_000]))
        await until(lambda: all(one.ended for one in attacking), "all to be answered")
        assert all(one.said(UNIMPLEMENTED) for one in attacking)
    figures.check(most_mib=180)


async def test_lengths_that_lie(redis: RedisServer) -> None:
    """The defence against too large lengths is MAX_MESSAGE_BYTES; with too small ones, the request is malformed."""
    body = request(1)
    lies = {
        "4 GiB": b"\x00\xff\xff\xff\xff" + body,
        "1 GiB": b"\x00\x40\x00\x00\x00" + body,
        "more than comes": b"\x00\x00\x00\xff\xff" + body,
        "less than comes": b"\x00\x00\x00\x00\x01" + body,
        "compressed with nothing": b"\x01" + len(body).to_bytes(4) + body,
        "an unknown flag": b"\xff" + len(body).to_bytes(4) + body,
        "cut off": b"\x00\x00",
        "none": b"",
    }
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        attacking = {lie: await stack.enter_async_context(attacker(scene.port)) for lie in lies}
        for stream in range(1, 2 * 50, 2):
            for lie, one in attacking.items():
                method = FILES if stream % 4 == 1 else "/abuse.Service/Echo"
                await one.send(headers(stream, fields(method)) + frame(DATA, END_STREAM, stream, lies[lie]))
        await until(lambda: all(one.ended + one.reset == 50 for one in attacking.values()), "an end of each call")
        assert min(attacking["4 GiB"].said(EXHAUSTED), attacking["1 GiB"].said(EXHAUSTED)) >= 25  # those of the core
    figures.check(most_mib=180)
