"""The partial faults that hit a connection, under TLS: one is swallowed, or the address leads elsewhere."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.calling import Gateway
from tests.support.servers.certificates import Authority
from tests.support.servers.children import free_port
from tests.support.servers.process import ProxyProcess
from tests.support.servers.redis import RedisServer, tls_config
from tests.support.servers.tcp import FaultyTcp
from tests.support.servers.upstream import FakeMediaServer
from tests.support.servers.waiting import until

_MODELS = range(1, 6)
_BUSY = 3.0


@asynccontextmanager
async def _secured(authority: Authority) -> AsyncIterator[int]:
    """The TLS port of a Redis."""
    port = free_port()
    async with RedisServer(*tls_config(port, authority, authority.issue("127.0.0.1"))):
        yield port


@asynccontextmanager
async def _two(
    ways: tuple[int, int], authority: Authority, upstream: FakeMediaServer, transport: str
) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Callers of two proxies, which all models are stored by."""
    settings = {"REDIS_TLS_CA": str(authority.ca), "MEDIA_SERVICE_ADDR": upstream.addr, "TRANSPORT": transport}
    addrs = [f"rediss://127.0.0.1:{way}" for way in ways]
    async with (
        ProxyProcess(REDIS_ADDR=addrs[0], **settings) as one,
        ProxyProcess(REDIS_ADDR=addrs[1], **settings) as other,
        Gateway(one.addr) as first,
        Gateway(other.addr) as second,
    ):
        for gateway in (first, second):
            await gateway.hits(*_MODELS)
        yield first, second


async def _sees(gateway: Gateway) -> bool:
    return [(await gateway.read(model_id=number)).response.data.total for number in _MODELS] == [1] * len(_MODELS)


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_a_swallowed_connection_is_replaced(
    authority: Authority, upstream: FakeMediaServer, transport: str
) -> None:
    async with _secured(authority) as port, FaultyTcp(port) as way:
        async with _two((way.port, port), authority, upstream, transport) as (one, other):
            way.swallow_one(0)
            for number in _MODELS:
                assert (await one.upload(number)).success
            assert await _sees(one)
            swallowed = time.monotonic()
            await until(lambda: _sees(other), "the invalidations to be applied")
            assert time.monotonic() - swallowed < 3.0 + _BUSY


@pytest.mark.parametrize("transport", ["grpcio", "envoy"])
async def test_an_address_that_leads_elsewhere_is_followed(
    authority: Authority, upstream: FakeMediaServer, transport: str
) -> None:
    async with _secured(authority) as old, _secured(authority) as new, FaultyTcp(old) as way:
        async with _two((way.port, new), authority, upstream, transport) as (one, other):
            way.target = ("127.0.0.1", new)
            moved = time.monotonic()
            for number in _MODELS:
                assert (await one.upload(number)).success
            assert await _sees(one)
            await until(lambda: _sees(other), "the new server to have the invalidations")
            assert time.monotonic() - moved < 2.0 + _BUSY
