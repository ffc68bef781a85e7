"""The media service's certificate with all kinds of names: the proxy accepts it exactly if a direct caller does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from proxy.transport.credentials import server_credentials
from tests.as_direct.conftest import ANY, READ, UNARY
from tests.conftest import TRANSPORTS
from tests.support.raw_upstream import RawUpstream, status_of, unary
from tests.support.servers.certificates import Authority, Issued
from tests.support.servers.process import ProxyProcess
from tests.support.tls_legs import leg

CASES: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "an address among several names": ("ipv6:[::1]:{}", ("media", "10.0.0.1", "::1"), "", "OK"),
    "a wildcard": ("127.0.0.1:{}", ("media", "*.shop.internal"), "Media.shop.internal.", "OK"),
    "another name": ("127.0.0.1:{}", ("localhost", "*.internal"), "media.shop.internal", "UNAVAILABLE"),
}
"""MEDIA_SERVICE_ADDR, the names in its certificate, UPSTREAM_TLS_SERVER_NAME, and the status of calls."""


@asynccontextmanager
async def upstream(target: str, authority: Authority, shown: Issued) -> AsyncIterator[str]:
    """A media service that demands client certificates; yields its address."""
    server = grpc.aio.server(handlers=[RawUpstream()])
    credentials = server_credentials(leg(authority.ca, shown, server=True))
    port = server.add_secure_port("[::1]:0" if "::1" in target else "127.0.0.1:0", credentials)
    await server.start()
    try:
        yield target.format(port)
    finally:
        await server.stop(None)


def direct(address: str, authority: Authority, own: Issued, name: str) -> grpc.aio.Channel:
    files = (path.read_bytes() for path in (authority.ca, own.key, own.cert))
    options = [("grpc.ssl_target_name_override", name)] if name else []
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*files), options=options)


def through(address: str, authority: Authority, own: Issued, name: str, transport: str) -> ProxyProcess:
    settings = {"UPSTREAM_TLS": "on", "UPSTREAM_TLS_CA": str(authority.ca), "UPSTREAM_TLS_SERVER_NAME": name}
    settings |= own.environment("UPSTREAM_TLS")
    return ProxyProcess(TRANSPORT=transport, MEDIA_SERVICE_ADDR=address, **settings)


async def statuses(channel: grpc.aio.Channel) -> set[str]:
    return set(await each(channel))


async def each(channel: grpc.aio.Channel) -> list[str]:
    return [(await status_of(unary(channel, method, b"q")))[0].name for method in (READ, UNARY, ANY)]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", CASES)
async def test_a_certificate_is_trusted_as_direct(authority: Authority, transport: str, case: str) -> None:
    target, names, name, expected = CASES[case]
    own, shown = authority.issue(), authority.issue(*names)
    async with upstream(target, authority, shown) as address:
        async with direct(address, authority, own, name) as channel:
            assert await statuses(channel) == {expected}
        async with through(address, authority, own, name, transport) as proxy:
            async with grpc.aio.insecure_channel(proxy.addr) as channel:
                assert await statuses(channel) == {expected}


async def test_a_certificate_with_a_common_name_alone(authority: Authority) -> None:
    own, name, found = authority.issue(), "media.internal", {}
    async with upstream("127.0.0.1:{}", authority, authority.issue(common_name=name)) as address:
        async with direct(address, authority, own, name) as channel:
            found["direct"] = await each(channel)
        for transport in TRANSPORTS:
            async with through(address, authority, own, name, transport) as proxy:
                async with grpc.aio.insecure_channel(proxy.addr) as channel:
                    found[transport] = await each(channel)
    assert found == {"direct": ["OK"] * 3, "grpcio": ["OK"] * 3, "envoy": ["OK", "UNAVAILABLE", "UNAVAILABLE"]}
