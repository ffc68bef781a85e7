"""Metadata values of more than 64 KiB, which clients and servers must allow, and other calls beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from tests.as_direct.conftest import ANY, METHODS, READ, UNARY, UPLOAD
from tests.conftest import TRANSPORTS
from tests.support.raw_upstream import BIG, RawUpstream, Seen, status_of, unary
from tests.support.servers.process import ProxyProcess

LARGE = "v" * (70 << 10)
ECHO = "/any.Service/Echo"
Context = grpc.aio.ServicerContext[bytes, bytes]


async def in_trailers(seen: Seen, context: Context) -> None:
    """Answers with a large value in its trailers if the call asks for it."""
    await context.read()
    if ("large", "please") in seen.metadata:
        context.set_trailing_metadata((("k", LARGE),))
    await context.write(b"answer")


@asynccontextmanager
async def calling(transport: str, **settings: str) -> AsyncIterator[grpc.aio.Channel]:
    async with RawUpstream() as raw:
        raw.behaviours = dict.fromkeys(METHODS, in_trailers)
        async with ProxyProcess(TRANSPORT=transport, MEDIA_SERVICE_ADDR=raw.address, **settings) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr, options=BIG) as channel:
                yield channel


async def beside(channel: grpc.aio.Channel, method: str, *metadata: tuple[str, str]) -> tuple[str, bool]:
    """The status of a call, and whether another call in progress on the same connection continues."""
    stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(ECHO)()
    await stream.write(b"1")
    assert await stream.read() == b"1"
    code, _ = await status_of(unary(channel, method, b"q", metadata=metadata))
    try:
        await stream.write(b"2")
        goes_on = await stream.read() == b"2"
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        goes_on = False
    stream.cancel()
    return code.name, goes_on


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_the_setting_allows_passes(transport: str) -> None:
    async with calling(transport, MAX_METADATA_BYTES="1MiB") as channel:
        for method in METHODS:
            assert await beside(channel, method, ("k", LARGE)) == ("OK", True)
            assert await beside(channel, method, ("large", "please")) == ("OK", True)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_it_does_not_allow(transport: str) -> None:
    """With Envoy's cheaper codec, such a request ends its connection, as docs/envoy.md says."""
    async with calling(transport) as channel:
        for method in (READ, UPLOAD, UNARY, ANY):
            code, goes_on = await beside(channel, method, ("k", LARGE))
            expected = ("UNAVAILABLE", False) if transport == "envoy" else ("RESOURCE_EXHAUSTED", True)
            assert (code, goes_on) == expected
            code, _ = await beside(channel, method, ("large", "please"))
            assert code == ("INTERNAL" if transport == "envoy" and method in {UNARY, ANY} else "OK")
