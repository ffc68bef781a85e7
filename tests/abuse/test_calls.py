"""Abuse by connections and calls: silent connections, rapid resets, more calls than there are places."""

import asyncio
from contextlib import AsyncExitStack

from tests.abuse.attack import attacker, fields
from tests.abuse.scene import Scene
from tests.support.raw_http2 import PING, RST_STREAM, frame, headers
from tests.support.servers.redis import RedisServer
from tests.support.servers.waiting import until

_CANCEL = (8).to_bytes(4)


async def test_500_silent_connections_are_closed(redis: RedisServer) -> None:
    """The defence is `grpc.server_handshake_timeout_ms`."""
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        readers = []
        for _ in range(500):
            reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
            stack.callback(writer.close)
            readers.append(reader)
        async with asyncio.timeout(30):
            for reader in readers:
                await reader.read()  # whatever the proxy sends first, up to the end
    figures.check(most_mib=180)


async def test_10_000_rapid_resets(redis: RedisServer) -> None:
    """The defences are MAX_CALLS_PER_CONNECTION and `grpc.server.max_pending_requests`."""

    async def reset(calls: int) -> None:
        async with attacker(scene.port) as attacking:
            call = fields("/media.MediaService/GetFilesByModel")
            for stream in range(1, 2 * calls, 2):
                await attacking.send(headers(stream, call) + frame(RST_STREAM, 0, stream, _CANCEL))
            await attacking.send(frame(PING, 0, 0, b"seen all"))
            await until(lambda: attacking.said(b"seen all"), "the proxy to have read all of it")

    async with Scene(redis.addr) as scene, scene.abused() as figures:
        await asyncio.gather(*(reset(2500) for _ in range(4)))
    figures.check(most_mib=180)


async def test_5_000_concurrent_calls(redis: RedisServer) -> None:
    """The defences are MAX_CONCURRENT_CALLS with its reserve, and `grpc.server.max_pending_requests`."""
    async with Scene(redis.addr) as scene, scene.abused() as figures, AsyncExitStack() as stack:
        attacking = [await stack.enter_async_context(attacker(scene.port)) for _ in range(20)]
        for one in attacking:
            for stream in range(1, 2 * 250, 2):
                await one.send(headers(stream, fields("/abuse.Service/Hold")))
        await until(lambda: sum(one.ended for one in attacking) >= 4000, "those above the limit to be refused")
        await scene.called("forwarded")
        details = b"the proxy serves at most 1000 calls at once (MAX_CONCURRENT_CALLS)"
        assert sum(one.ended for one in attacking) == sum(one.said(details) for one in attacking)
        assert not sum(one.reset for one in attacking)
    figures.check(most_mib=300)
