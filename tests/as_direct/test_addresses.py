"""All kinds of addresses of the media service, and addresses that change: callers get what direct callers get."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc.aio
import pytest

from tests.as_direct.conftest import ANY, READ, UNARY
from tests.conftest import TRANSPORTS
from tests.support.raw_upstream import RawUpstream, status_of, unary
from tests.support.servers.children import free_port
from tests.support.servers.names import NameServer
from tests.support.servers.process import ProxyProcess
from tests.support.servers.waiting import until

EACH_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)
METHODS = (READ, UNARY, ANY)
NAME = "media.test"


@contextmanager
def swallowing(host: str, port: int) -> Iterator[None]:
    """An address that does not answer attempts to connect, because the queue of its listener is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((host, port))
        listener.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex((host, port))
        yield


@asynccontextmanager
async def serving(host: str, port: int) -> AsyncIterator[tuple[RawUpstream, grpc.aio.Server]]:
    """A running upstream, which records what it sees, and its server."""
    raw = RawUpstream()
    server = grpc.aio.server(handlers=[raw], options=[("grpc.so_reuseport", 0)])
    server.add_insecure_port(f"{host}:{port}")
    await server.start()
    try:
        yield raw, server
    finally:
        await server.stop(None)


@asynccontextmanager
async def calling(transport: str, address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a proxy whose media service has this address."""
    async with ProxyProcess(TRANSPORT=transport, MEDIA_SERVICE_ADDR=address) as proxy:
        async with grpc.aio.insecure_channel(proxy.addr) as caller:
            yield caller


@EACH_TRANSPORT
async def test_a_name_of_several_addresses_that_leads_elsewhere(transport: str) -> None:
    """At first one of its addresses drops packets. Then both are gone, and the name has another one."""
    port = free_port()
    async with (
        NameServer() as names,
        serving("127.0.0.3", port) as (before, server),
        serving("[::1]", port) as (after, _),
    ):
        names.addresses[NAME] = ["127.0.0.2", "127.0.0.3"]
        with swallowing("127.0.0.2", port):
            async with calling(transport, f"dns://127.0.0.1:{names.port}/{NAME}:{port}") as caller:
                for method in METHODS:
                    assert (await status_of(unary(caller, method)))[0].name == "OK"
                assert {each.method for each in before.seen} == {*METHODS}
                names.addresses[NAME] = ["::1"]
                await server.stop(None)

                async def served() -> bool:
                    for method in METHODS:
                        await status_of(unary(caller, method, timeout=5))
                    return {each.method for each in after.seen} == {*METHODS}

                await until(served, "the new address to be asked")


@EACH_TRANSPORT
@pytest.mark.parametrize("target", ["ipv6:%5B::1%5D:{}", "ipv4:///127.0.0.1:{}"])
async def test_an_address_of_any_kind(transport: str, target: str) -> None:
    port = free_port()
    async with serving("[::1]" if "::1" in target else "127.0.0.1", port) as (raw, _):
        async with calling(transport, target.format(port)) as caller:
            for method in METHODS:
                assert (await status_of(unary(caller, method)))[0].name == "OK"
    assert len(raw.seen) == len(METHODS)
