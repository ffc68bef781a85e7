"""Abuse by useless frames: floods of them, calls that never begin, uploads that stall."""

import asyncio
from contextlib import AsyncExitStack, suppress

import grpc.aio
from grpc import StatusCode

from tests.abuse.attack import Attacker, attacker, fields, literal
from tests.abuse.scene import Scene
from tests.support.raw_http2 import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    headers,
)
from tests.support.raw_upstream import BIG, status_of, unary
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

UPLOAD, HOLD = "/media.MediaService/UploadFile", "/abuse.Service/Hold"
_TABLE_SIZE = 1
_FLOODS = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "SETTINGS": frame(SETTINGS, 0, 0, _TABLE_SIZE.to_bytes(2) + bytes(4)),
    "WINDOW_UPDATE of a byte": frame(WINDOW_UPDATE, 0, 1, (1).to_bytes(4)),
    "PRIORITY": frame(PRIORITY, 0, 1, bytes(4) + b"\x10"),
    "empty DATA": frame(DATA, 0, 1),
    "RST_STREAM of no call": frame(RST_STREAM, 0, 1, (8).to_bytes(4)),
    "unknown": frame(0x42, 0, 1, bytes(8)),
}
_AT_ONCE, _TIMES = 1_000, 20


async def sent(attacking: Attacker, data: bytes) -> bool:
    """Sends data; returns whether the proxy still accepts it."""
    with suppress(ConnectionError):
        await attacking.send(data)
        return True
    return False


async def test_floods_of_frames(redis: RedisServer) -> None:
    """The defences: each frame costs little, and the proxy closes the connection."""

    async def pour(attacking: Attacker, flood: bytes) -> None:
        await attacking.send(headers(1, fields(HOLD)))
        for _ in range(_TIMES):
            if not await sent(attacking, flood * _AT_ONCE):
                return

    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        for flood in _FLOODS.values():
            attackers = [await stack.enter_async_context(attacker(scene.port)) for _ in range(4)]
            await asyncio.gather(*(pour(each, flood) for each in attackers))
            await scene.called("hit")
        await scene.called("forwarded")
    figures.check(most_mib=180)


async def test_headers_without_an_end(redis: RedisServer) -> None:
    """HEADERS and 50 MB of CONTINUATION (CVE-2024-27316), little of which is kept because of MAX_METADATA_BYTES; and
    200 connections whose first call never begins.
    """
    block = b"".join(literal(key, value) for key, value in fields(HOLD))
    more = frame(CONTINUATION, 0, 1, literal(b"x", bytes(100) + b"v" * 15_000))

    async def pour(attacking: Attacker) -> None:
        await attacking.send(frame(HEADERS, 0, 1, block))
        for _ in range(3_300):
            if not await sent(attacking, more):
                return

    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        attackers = [await stack.enter_async_context(attacker(scene.port)) for _ in range(4)]
        await asyncio.gather(*map(pour, attackers))
        await scene.called("forwarded")
        slow = [await stack.enter_async_context(attacker(scene.port)) for _ in range(200)]
        for at in range(10):
            for one in slow:
                await sent(one, frame(HEADERS if at == 0 else CONTINUATION, 0, 1, block[at : at + 1]))
        await scene.called("forwarded")
        await scene.called("hit")
    figures.check(most_mib=180)


async def test_uploads_that_are_reset_halfway(redis: RedisServer) -> None:
    """2,000 uploads that announce 50 MiB each. The memory that they held is released."""
    begun = b"\x00" + (50 << 20).to_bytes(4) + bytes(10_000)

    async def pour(attacking: Attacker) -> None:
        for stream in range(1, 2 * 500, 2):
            call = headers(stream, fields(UPLOAD)) + frame(DATA, 0, stream, begun)
            if not await sent(attacking, call + frame(RST_STREAM, 0, stream, (8).to_bytes(4))):
                return

    async with Scene(redis.addr) as scene, scene.abused() as figures:
        async with AsyncExitStack() as stack:
            attackers = [await stack.enter_async_context(attacker(scene.port)) for _ in range(4)]
            await asyncio.gather(*map(pour, attackers))
            await scene.called("forwarded")
        await uploaded(scene)
    figures.check(most_mib=300)


async def test_uploads_that_stall(redis: RedisServer) -> None:
    """100 uploads that announce 50 MiB each and send 10 kB. Other uploads continue, because an upload must arrive in
    time once others wait for the memory that is reserved for it.
    """
    begun = b"\x00" + (50 << 20).to_bytes(4) + bytes(10_000)
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        for _ in range(4):
            one = await stack.enter_async_context(attacker(scene.port))
            for stream in range(1, 2 * 25, 2):
                await one.send(headers(stream, fields(UPLOAD)) + frame(DATA, 0, stream, begun))
        await scene.called("forwarded")
        await uploaded(scene)
    figures.check(most_mib=300)


async def uploaded(scene: Scene) -> None:
    """Asserts that an upload of a well-behaved caller succeeds."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{scene.port}", options=BIG) as channel:

        async def passes() -> bool:
            code, said = await status_of(unary(channel, UPLOAD, bytes(200_000), timeout=60))
            assert code in {StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED}, said
            return code is StatusCode.OK

        await until(passes, "an upload", 60)
