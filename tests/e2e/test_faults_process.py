"""The proxy itself in trouble: no file descriptors are left."""

import asyncio
import resource
import socket
from pathlib import Path

import grpc.aio
import pytest

from proxy.pb import media_pb2 as pb
from proxy.pb.media_pb2_grpc import MediaServiceStub
from tests.support.calling import Gateway
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_OF_ITS_OWN = (("grpc.use_local_subchannel_pool", 1),)
"""A connection of its own, not the one that another channel to the same address has."""


async def test_without_descriptors_who_is_connected_is_served_and_others_once_there_are_some(
    redis: RedisServer,
) -> None:
    async with FakeMediaServer() as upstream:
        for number in range(2, 20):  # the first presigned URLs are read when no module can be imported any more
            upstream.media.add("User", number)
        # With TRANSPORT=envoy the connections are those of another process, and its limit is not the one set here.
        settings = {"REDIS_ADDR": redis.addr, "MEDIA_SERVICE_ADDR": upstream.addr, "TRANSPORT": "grpcio"}
        async with ProxyProcess(**settings) as proxy:
            async with Gateway(proxy.addr) as gateway:
                assert await gateway.x_cache() == "miss"
                await gateway.hits()
                _, hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (_descriptors(proxy) + 3, hard))
                crowd = [socket.create_connection(("127.0.0.1", proxy.listen_port)) for _ in range(12)]
                try:
                    await until(lambda: _full(proxy), "all descriptors to be taken")
                    with pytest.raises(grpc.aio.AioRpcError):
                        await _late_read(proxy, timeout=1.0)
                    await proxy.logged("no file descriptors are left")
                    for number in range(2, 20):
                        assert await gateway.x_cache(number) == "miss"
                        await gateway.hits(number)
                    assert (await gateway.upload()).success
                    assert (await gateway.read()).response.data.total == 1
                finally:
                    for each in crowd:
                        each.close()
                await until(lambda: _late_read_works(proxy), "one more caller to be served")
                await until(lambda: _ready(proxy), "the probes to answer")
                assert (await gateway.read()).response.data.total == 1
                await proxy.logged("file descriptors are free again")
            assert len(await proxy.logged("no file descriptors are left")) == 1
            # asyncio adds a line of its own, once a minute, where it was the probes that nobody could connect to.
            severe = [line for line in proxy.stderr.splitlines() if '"level": "error"' in line]
            assert all("Too many open files" in line for line in severe), severe
            assert len(severe) <= 1


def _descriptors(proxy: ProxyProcess) -> int:
    return len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))


def _full(proxy: ProxyProcess) -> bool:
    limit, _ = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    return _descriptors(proxy) >= limit


async def _late_read(proxy: ProxyProcess, timeout: float) -> int:
    async with grpc.aio.insecure_channel(proxy.addr, options=_OF_ITS_OWN) as channel:
        request = pb.GetFilesByModelRequest(
            model_type="User", model_id=1, collection_name="avatars", page=1, per_page=1
        )
        response: pb.GetFilesByModelResponse = await MediaServiceStub(channel).GetFilesByModel(request, timeout=timeout)
        return response.data.total


async def _late_read_works(proxy: ProxyProcess) -> bool:
    try:
        return await _late_read(proxy, timeout=3.0) == 1
    except grpc.aio.AioRpcError:
        return False


async def _ready(proxy: ProxyProcess) -> bool:
    try:
        async with asyncio.timeout(1.0):
            return (await proxy.probe("/readyz"))[0] == 200
    except (OSError, TimeoutError):
        return False
