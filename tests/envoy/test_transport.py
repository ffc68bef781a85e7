"""Health and draining, as callers see them."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.raw_upstream import RawUpstream
from tests.support.servers.process import ProxyProcess

METHOD = "/any.Service/Anything"


@pytest.fixture
async def upstream() -> AsyncIterator[RawUpstream]:
    async with RawUpstream() as upstream:
        yield upstream


@pytest.fixture
async def proxy(upstream: RawUpstream) -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(TRANSPORT="envoy", MEDIA_SERVICE_ADDR=upstream.address) as proxy:
        yield proxy


async def test_health_is_the_proxys_own_and_says_when_it_drains(proxy: ProxyProcess, upstream: RawUpstream) -> None:
    async with grpc.aio.insecure_channel(proxy.addr) as caller:
        stub = health_pb2_grpc.HealthStub(caller)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        proxy.terminate()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await proxy.exited() == 0
    assert upstream.seen == []


async def test_a_forwarded_stream_holds_up_draining(proxy: ProxyProcess) -> None:
    async with grpc.aio.insecure_channel(proxy.addr) as caller:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = caller.stream_stream(METHOD)
        call = method(timeout=60)
        await call.write(b"1")
        assert await call.read() == b"1"
        proxy.terminate()
        await proxy.logged("draining")
        await asyncio.sleep(3)  # longer than an idle proxy takes to end
        await call.write(b"2")
        assert await call.read() == b"2"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await proxy.exited() == 0
