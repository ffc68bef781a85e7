"""The number of callers' connections, and what happens beyond the limit, on each transport."""

import asyncio
import logging
import socket
from contextlib import AsyncExitStack

import grpc.aio
import pytest

from proxy.transport import connections
from tests.support.raw_http2 import PREFACE, SETTINGS, frame
from tests.support.raw_upstream import RawUpstream, status_of, unary
from tests.support.servers.process import ProxyProcess
from tests.support.servers.streams import StreamServer
from tests.support.servers.waiting import until


async def connected(port: int, stack: AsyncExitStack) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    return reader


@pytest.mark.usefixtures("each_transport")
async def test_one_too_many_is_closed_and_the_log_says_so() -> None:
    async with RawUpstream() as upstream, AsyncExitStack() as stack:
        async with ProxyProcess(MEDIA_SERVICE_ADDR=upstream.address, MAX_CONNECTIONS="5") as proxy:
            kept = await stack.enter_async_context(grpc.aio.insecure_channel(proxy.addr))
            assert (await status_of(unary(kept, "/any.Service/Anything")))[0].name == "OK"
            readers = [await connected(proxy.listen_port, stack) for _ in range(8)]
            closed = [asyncio.ensure_future(reader.read(-1)) for reader in readers]
            await until(lambda: sum(each.done() for each in closed) >= 4, "those that are too many to be closed")
            await proxy.logged("5 connections of callers are open")
            assert (await status_of(unary(kept, "/any.Service/Anything")))[0].name == "OK"

            async def shown() -> bool:
                return await proxy.metric('media_cache_limit_used{limit="MAX_CONNECTIONS"}') == 5

            await until(shown, "them to be counted among the limits")
            for each in closed:
                each.cancel()


async def _silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Keeps the connection open."""


async def test_connections_of_a_port_are_counted() -> None:
    async with AsyncExitStack() as stack:
        port = (await stack.enter_async_context(StreamServer(_silent))).port
        assert connections.established(port) == 0
        for number in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            await until(lambda number=number: connections.established(port) == number + 1)  # type: ignore[misc]


async def _echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def test_a_count_leaves_connections_and_what_else_is_open_as_they_were() -> None:
    async with StreamServer(_echoing) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            await until(lambda: connections.established(server.port) == 1)
            writer.write(b"still here\n")
            assert await reader.readline() == b"still here\n"
            theirs.send(b"x")
            assert ours.recv(1) == b"x"
        writer.close()
        await until(lambda: connections.established(server.port) == 0)


async def test_connections_of_other_processes_are_not_looked_at() -> None:
    async with RawUpstream() as upstream, ProxyProcess(MEDIA_SERVICE_ADDR=upstream.address) as proxy:
        async with AsyncExitStack() as stack:
            await connected(proxy.listen_port, stack)
            assert connections.established(proxy.listen_port) == 0


async def test_it_is_said_once_until_there_were_fewer(caplog: pytest.LogCaptureFixture) -> None:
    counts = iter([1, 2, 2, 1, 2])
    looked = asyncio.Event()

    def count() -> int:
        number = next(counts, None)
        if number is None:
            looked.set()
        return number or 0

    with caplog.at_level(logging.WARNING):
        watched = connections.Connections(2, count)
        watching = asyncio.create_task(watched.watch(every=0.0))
        await looked.wait()
        watching.cancel()
    assert caplog.messages == [connections.TOO_MANY % 2] * 2
