"""The proxy on a machine, or in a cluster, where all addresses are IPv6."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from proxy.pb import media_pb2 as media
from proxy.pb.media_pb2_grpc import MediaServiceStub, add_MediaServiceServicer_to_server
from tests.admin.test_commands import run
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMedia
from tests.support.servers.waiting import until

ONE = media.GetFilesByModelRequest(model_type="user", model_id=1)


@asynccontextmanager
async def media_service() -> AsyncIterator[str]:
    """Its address."""
    server = grpc.aio.server()
    add_MediaServiceServicer_to_server(FakeMedia(), server)
    port = server.add_insecure_port("[::1]:0")
    await server.start()
    try:
        yield f"[::1]:{port}"
    finally:
        await server.stop(None)


@pytest.mark.usefixtures("each_transport")
async def test_every_address_may_be_ipv6() -> None:
    listen, probes, admin = (free_port() for _ in range(3))
    async with RedisServer("bind 127.0.0.1 ::1") as redis, media_service() as upstream:
        settings = {"MEDIA_SERVICE_ADDR": upstream, "REDIS_ADDR": f"[::1]:{redis.port}", "ADMIN_ADDR": f"[::1]:{admin}"}
        proxy = ProxyProcess(LISTEN_ADDR=f"[::1]:{listen}", PROBE_ADDR=f"[::]:{probes}", **settings)
        proxy.probe_port = probes
        async with proxy, grpc.aio.insecure_channel(proxy.addr) as channel:
            stub: Any = MediaServiceStub(channel)

            async def hit() -> bool:
                call = stub.GetFilesByModel(ONE)
                await call
                return bool(dict(await call.trailing_metadata())["x-cache"] == "hit")

            await until(hit, "the cache to work")
            assert not (await stub.GetFileURL(media.GetFileURLRequest(id=1))).success
            assert (await run("stats", ADMIN_ADDR=f"[::1]:{admin}")).status == 0
