"""The installed gRPC core knows the name of every option; it would silently ignore an unknown one.

test_forward.py, test_upstream.py and test_server.py test the effects of the options.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest

from proxy.transport.channel_options import CLIENT_OPTIONS
from proxy.transport.channel_options import SERVER_OPTIONS as FIXED
from proxy.transport.limits import Limits
from tests.as_direct.caller import HandCaller

SERVER_OPTIONS = FIXED + Limits().server_options


@pytest.fixture(scope="module")
def core() -> bytes:
    (library,) = (Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")
    return library.read_bytes()


@pytest.mark.parametrize("name", sorted({name for name, _ in CLIENT_OPTIONS + SERVER_OPTIONS}))
def test_the_core_knows_the_name(core: bytes, name: str) -> None:
    assert b"\x00" + name.encode() + b"\x00" in core


@pytest.mark.parametrize("options", [CLIENT_OPTIONS, SERVER_OPTIONS])
def test_no_option_is_given_twice(options: tuple[tuple[str, int], ...]) -> None:
    assert len({name for name, _ in options}) == len(options)


@pytest.mark.parametrize("options", [CLIENT_OPTIONS, SERVER_OPTIONS])
def test_no_gap_between_the_limits_of_metadata(options: tuple[tuple[str, int], ...]) -> None:
    assert dict(options)["grpc.max_metadata_size"] == dict(options)["grpc.absolute_max_metadata_size"]


def test_our_pings_do_not_annoy_servers_with_defaults() -> None:
    """Such servers close a connection for pings without calls, or more often than every five minutes."""
    options = dict(CLIENT_OPTIONS)
    assert options["grpc.keepalive_time_ms"] > 300_000
    assert "grpc.keepalive_permit_without_calls" not in options


@asynccontextmanager
async def silent_caller(options: Sequence[tuple[str, int]]) -> AsyncIterator[HandCaller]:
    """A caller of a server with these options; it sends nothing by itself."""
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    caller = await HandCaller.connected(port)
    try:
        yield caller
    finally:
        await caller.close()
        await server.stop(None)


async def test_a_peer_that_answers_no_ping_is_let_go() -> None:
    """Its kernel still acknowledges every byte. All times are a twentieth of the options' values."""
    times = {"grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"}
    options = [(name, value // 20 if name in times else value) for name, value in SERVER_OPTIONS]
    async with silent_caller(options) as caller, asyncio.timeout(30):
        assert await caller.ended() == b"ping_timeout"


async def test_a_caller_that_reads_nothing_has_as_long_as_one_that_hangs() -> None:
    """Linux counts the time in which the receiver's window is closed, too."""
    options = dict(SERVER_OPTIONS)
    async with silent_caller(SERVER_OPTIONS) as caller:
        hangs = options["grpc.keepalive_time_ms"] + options["grpc.http2.ping_timeout_ms"]
        assert user_timeouts(caller.local_port) == [hangs]


def user_timeouts(peer: int) -> list[int]:
    """TCP_USER_TIMEOUT in ms of this process' sockets that are connected to a port."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- names are all that is needed
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as one:
            if one.family in {socket.AF_INET, socket.AF_INET6} and one.getpeername()[1] == peer:
                found.append(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    return found
