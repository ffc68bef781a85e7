"""How long a gateway's calls fail while the proxy beside it is killed and restarted at once, as a kubelet would."""

import asyncio
import time

import grpc.aio

from bench.stack import TRANSPORTS
from bench.targets import Target
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_AT_MOST = 30.0
"""Seconds."""


async def measure() -> list[Target]:
    """Measures one target per transport."""
    async with RedisServer() as redis, FakeMediaServer() as upstream:
        upstream.media.add("User", 1)
        found = []
        for transport in TRANSPORTS:
            places = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr}
            async with ProxyProcess(TRANSPORT=transport, **places) as proxy:
                gap = await _gap(proxy)
            found.append(Target(f"from the kill of the proxy until calls succeed again ({transport})", gap, None, "s"))
        return found


async def _gap(proxy: ProxyProcess) -> float:
    """Returns the seconds from the kill to the first successful call; the channel reconnects with gRPC's defaults."""
    async with Gateway(proxy.addr) as gateway:
        await gateway.read()
        proxy.kill()
        begun = time.perf_counter()
        starting = asyncio.create_task(proxy.start())
        try:
            await until(lambda: _succeeds(gateway), "a call to succeed", _AT_MOST)
            return time.perf_counter() - begun
        finally:
            await starting


async def _succeeds(gateway: Gateway) -> bool:
    try:
        await gateway.read(timeout=1.0)
    except grpc.aio.AioRpcError:
        return False
    return True
